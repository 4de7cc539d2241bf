"""Proposes PHI classes for columns by what their values look like, with the pattern recognisers of Presidio and without any language model.

Looked at are curated columns that nobody classified, and those of text that are classified as less than a direct identifier: somebody may write a name or a
number into any text. What is found is a proposal, and a person declares it in `lab_insights.yaml` or in the contract. What is not guaranteed: names of
people have no pattern, and a column without a find is not thereby without PHI; it stays what it is. A value leaves this module in no form: only shares do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lab_insights.errors import ConfigError
from lab_insights.governance.classes import STRICTEST, PhiClass, phi_class
from lab_insights.lab.curate import META
from lab_insights.lake.commit import Lake
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 500
# A column is proposed for what at least this share of its values look like.
SHARE = 0.01
_SCORE = 0.4
_CLASS: dict[str, PhiClass] = {"DATE_TIME": "quasi", "ZIP_CODE": "quasi"}
Finds = Callable[[str], set[str]]


@dataclass(frozen=True)
class Proposal:
    """What a column's values look like: `found` maps an entity, such as `PHONE_NUMBER`, to the share of `sampled` values that have it."""

    tenant: TenantId
    table: str
    column: str
    phi: PhiClass
    proposed: PhiClass | None
    sampled: int
    found: dict[str, float]

    @property
    def share(self) -> float:
        """The share of the entity that was found most often, of those that led to the proposal."""
        return max((share for entity, share in self.found.items() if _class(entity) == self.proposed), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the proposal as plain values."""
        return asdict(self) | {"share": self.share}


def scan(lake: Lake, tenant: TenantId, finds: Finds | None = None) -> list[Proposal]:
    """Return a proposal for every column of a tenant's curated tables that was looked at; `finds` names the entities in a text.

    Raises `ConfigError` when Presidio is not installed.
    """
    finds = finds or recognisers()
    found = []
    for table in lake.state.tables("curated", tenant):
        for column, phi, values in _sampled(lake, tenant, table):
            shares = _shares(values, finds)
            classes = [its for entity in shares if STRICTEST.index(its := _class(entity)) < STRICTEST.index(phi) or phi == "unclassified"]
            found.append(Proposal(tenant, table, column, phi, min(classes, key=STRICTEST.index) if classes else None, len(values), shares))
    return found


def recognisers() -> Finds:
    """Return a function that names the entities in a text; raise `ConfigError` when Presidio is not installed."""
    try:
        from presidio_analyzer import Pattern, PatternRecognizer, predefined_recognizers
    except ImportError:
        raise ConfigError(
            "The scanner's recognisers are not installed.", remedy="in a checkout: .venv/bin/uv pip install -e '.[scan]'."
        ) from None
    # its own class asks the network for a list of top-level domains
    email = PatternRecognizer("EMAIL_ADDRESS", patterns=predefined_recognizers.EmailRecognizer.PATTERNS)
    ours = [
        PatternRecognizer("MEDICAL_RECORD_NUMBER", patterns=[Pattern("MRN", r"(?i)\bMRN[-:#\s]*\w*\d\w*", 0.6)]),
        PatternRecognizer("ZIP_CODE", patterns=[Pattern("ZIP", r"\A\s*\d{5}(?:-\d{4})?\s*\Z", 0.5)]),
    ]
    theirs = ("UsSsnRecognizer", "IpRecognizer", "UrlRecognizer", "CreditCardRecognizer", "UsMbiRecognizer", "DateRecognizer")
    every = [email, *ours, *(getattr(predefined_recognizers, name)() for name in theirs)]
    every.append(predefined_recognizers.PhoneRecognizer(supported_regions=("US",)))

    def finds(text: str) -> set[str]:
        return {hit.entity_type for each in every for hit in each.analyze(text, each.supported_entities, None) or () if hit.score >= _SCORE}

    return finds


def _class(entity: str) -> PhiClass:
    return _CLASS.get(entity, "direct")


def _sampled(lake: Lake, tenant: TenantId, table: str) -> Iterator[tuple[str, PhiClass, list[str]]]:
    """Yield column, class and values of the newest rows of a table."""
    import pyarrow.types as pat

    rows = _newest(lake, tenant, table)
    if rows is None:
        return
    for field in rows.schema:
        phi = phi_class("curated", table, field.name, lake.storage.phi)
        text = pat.is_string(field.type) or pat.is_large_string(field.type)
        if field.name in META or phi == "direct" or pat.is_boolean(field.type) or pat.is_floating(field.type) or pat.is_nested(field.type):
            continue
        if phi == "unclassified" or text:
            yield field.name, phi, [str(value) for value in rows[field.name].to_pylist() if value is not None]


def _newest(lake: Lake, tenant: TenantId, table: str) -> pa.Table | None:
    batches = [batch for batch in manifests(lake, "curated", tenant, table) if batch.rows]
    if not batches:
        return None
    newest = batches[-1]
    return lake.storage.dataset("curated", [part.key for part in newest.parts], newest.schema_()).head(SAMPLE)


def _shares(values: Sequence[str], finds: Finds) -> dict[str, float]:
    counts: dict[str, int] = {}
    for value in values:
        for entity in finds(value):
            counts[entity] = counts.get(entity, 0) + 1
    shares = {entity: round(count / len(values), 4) for entity, count in sorted(counts.items())}
    return {entity: share for entity, share in shares.items() if share >= SHARE}
