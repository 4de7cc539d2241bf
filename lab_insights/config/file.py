"""How the file is found and read; what is wrong in it is told by its line and the remedy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lab_insights.config.models import Config
from lab_insights.errors import ConfigError

# libyaml's parser, where PyYAML has it: every step of a run reads the configuration, and the other takes ten times as long.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def locate() -> Path:
    """Return the path of the configuration: `$LAB_INSIGHTS_CONFIG`, `$DAGSTER_HOME/lab_insights.yaml`, or the current directory's."""
    if named := os.environ.get("LAB_INSIGHTS_CONFIG"):
        return Path(named)
    home = os.environ.get("DAGSTER_HOME")
    at_home = Path(home) / "lab_insights.yaml" if home else None
    return at_home if at_home and at_home.exists() else Path("lab_insights.yaml")


def load(path: Path | None = None) -> Config:
    """Read and validate the configuration; raise `ConfigError` with file, line and remedy."""
    path = path or locate()
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1: not text in UTF-8.", remedy="save the file as UTF-8.") from None
    except OSError:
        raise ConfigError(
            f"There is no configuration at {path}.",
            remedy="run `lab-insights local up`, or `lab-insights init` for databases of your own, or set LAB_INSIGHTS_CONFIG to your lab_insights.yaml.",
        ) from None
    try:
        config = Config.model_validate(yaml.load(text, Loader=LOADER))  # noqa: S506 (both are safe loaders)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "a sign that YAML does not allow"
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {problem}.", remedy="mend the line.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise ConfigError(
            f"{path}:{_line(text, first['loc'])}: {where}: {first['msg']}.",
            remedy=f"change `{where}`; docs/reference/config.md shows every key.",
        ) from None
    if config.models is None:
        return config
    models = (path.parent / config.models).resolve()
    if not models.is_dir():
        raise ConfigError(
            f"{path}:{_line(text, ('models',))}: models: there is no directory {models}.", remedy="correct `models`, or leave it out."
        )
    return config.model_copy(update={"models": models})


def _line(text: str, loc: tuple[int | str, ...]) -> int:
    """Return the line of the deepest part of `loc` that is in the file."""
    node: Any = yaml.compose(text, Loader=LOADER)
    line = 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if str(step) not in pairs:
                break
            key, node = pairs[str(step)]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line
