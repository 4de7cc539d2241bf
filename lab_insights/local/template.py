"""The CloudFormation template as values, with the intrinsic functions that `deploy/template.yaml` uses evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parents[2] / "deploy" / "template.yaml"


@dataclass(frozen=True)
class Names:
    """What `Ref` gives (parameters, pseudo parameters, resources), and `Fn::GetAtt` (by `Name.Attribute`)."""

    refs: Mapping[str, str]
    attributes: Mapping[str, str]

    def look_up(self, name: str) -> str:
        """Return what `${name}` stands for in `Fn::Sub`; raise `KeyError` for a name that is in neither map."""
        return self.refs[name] if name in self.refs else self.attributes[name]


@cache
def load() -> dict[str, Any]:
    """Return the template with short tags (`!Sub`) in their long form (`Fn::Sub`)."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows CloudFormation's tags."""

    def intrinsic(loader: Any, tag: str, node: Any) -> dict[str, Any]:
        if isinstance(node, yaml.ScalarNode):
            value: Any = loader.construct_scalar(node)
        else:
            value = loader.construct_sequence(node, deep=True)
        if tag == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {tag if tag == "Ref" else f"Fn::{tag}": value}

    Loader.add_multi_constructor("!", intrinsic)
    parsed: dict[str, Any] = yaml.load(PATH.read_text(), Loader)  # noqa: S506 - a SafeLoader with more tags
    return parsed


def resolve(value: Any, names: Names) -> Any:
    """Return `value` with `Ref`, `GetAtt`, `Sub`, `Join` and `Split` evaluated."""
    if isinstance(value, list):
        return [resolve(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        return {key: resolve(item, names) for key, item in value.items()}
    ((function, argument),) = value.items()
    match function:
        case "Ref":
            return names.refs[argument]
        case "Fn::GetAtt":
            return names.attributes[".".join(argument)]
        case "Fn::Sub":
            text, local = argument if isinstance(argument, list) else (argument, {})
            own = {key: resolve(item, names) for key, item in local.items()}
            found = re.sub(r"\$\{([\w:.]+)\}", lambda match: own.get(match[1]) or names.look_up(match[1]), text)
            return found.replace("${!", "${")
        case "Fn::Join":
            return argument[0].join(resolve(argument[1], names))
        case "Fn::Split":
            return resolve(argument[1], names).split(argument[0])
    return {function: resolve(argument, names)}
