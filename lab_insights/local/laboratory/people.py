"""Who and where: patients, accounts, providers and users, each a pure function of its number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.scene import Scene

PATIENTS, ACCOUNTS, PROVIDERS, USERS = 60, 20, 25, 6
NEW_PATIENTS_A_DAY = 2
MERGE_DAY, MERGE_EVERY, SURVIVOR = 2, 7, 1
CONNECTIONS = ("Lab_Interface", "Financial_Interface")


@dataclass(frozen=True)
class Patient:
    """One invented patient as registered first."""

    id: int
    mrn: str
    family_name: str
    given_name: str
    birth_date: date
    sex: str
    postal_code: str
    phone: str


@dataclass(frozen=True)
class Account:
    """One customer of the laboratory; `host_codes` pair with `CONNECTIONS`, the first is the LIS'."""

    id: int
    name: str
    parent_id: int | None
    host_codes: tuple[str, ...]


def patient(scene: Scene, number: int) -> Patient:
    """Return patient `number`; the record number tells the tenant's key, so that a leak shows."""
    dice = scene.dice("patient", number)
    return Patient(
        id=number,
        mrn=f"T{scene.tenant.key}-{number:06d}",
        family_name=dice.choice(words.FAMILY_NAMES),
        given_name=dice.choice(words.GIVEN_NAMES),
        birth_date=scene.first_day - timedelta(days=dice.randint(30, 36_000)),
        sex=dice.choice("FMU" if number % 20 == 0 else "FM"),
        postal_code=dice.choice(words.CITIES)[2],
        phone=phone(number),
    )


def merged_patient(scene: Scene, index: int) -> int | None:
    """Return the number of the patient that is merged into `SURVIVOR` on day `index`, if any."""
    if index < 0 or index % MERGE_EVERY != MERGE_DAY:
        return None
    number = SURVIVOR + 1 + index // MERGE_EVERY
    return number if number <= scene.many(PATIENTS) else None


def current_patient(number: int, index: int) -> int:
    """Return who patient `number` is on day `index`: the survivor, once merged."""
    merges = (index - MERGE_DAY) // MERGE_EVERY + 1 if index >= MERGE_DAY else 0
    return SURVIVOR if SURVIVOR < number <= SURVIVOR + merges else number


def account(scene: Scene, number: int) -> Account:
    """Return account `number`; the first three are parents of the rest, every fifth is known to one system only."""
    dice = scene.dice("account", number)
    codes = (f"Org{100 + number}", f"FinOrg{900 + number}")
    name = f"{dice.choice(words.CITIES)[0]} {dice.choice(words.ACCOUNT_KINDS)} {number}"
    return Account(number, name, None if number <= 3 else 1 + number % 3, codes[:1] if number % 5 == 0 else codes)


def access_nodes(of: Account) -> list[tuple[str, str]]:
    """Return the nodes of the CRM's access hierarchy that see an account, as code and path, the primary one first."""
    region = ("east", "west", "south")[of.id % 3]
    nodes = [(f"region-{region}", f"all/{region}")]
    return [*nodes, ("key-accounts", "all/key-accounts")] if of.id % 4 == 0 else nodes


def pick_account(scene: Scene, roll: float) -> Account:
    """Return an account that has been there from the start; low numbers order more."""
    return account(scene, 1 + int(roll * roll * scene.many(ACCOUNTS)))


def user_name(number: int) -> str:
    """Return the login of user `number`."""
    return f"user{number:02d}"


def phone(number: int) -> str:
    """Return an invented telephone number, of the block that is kept for fiction."""
    return f"555-01{number % 100:02d}"
