"""The rows of the CRM: accounts with their host codes, providers, orderables, users, and the activities of each day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from lab_insights.local.laboratory import people
from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.activities import activities
from lab_insights.local.laboratory.catalogue import CATALOGUE
from lab_insights.local.laboratory.people import ACCOUNTS, CONNECTIONS, PROVIDERS
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.timeline import Row
from lab_insights.local.laboratory.user_defined import definitions, side_row, slot_values


def births(scene: Scene, birth: int) -> Iterator[Row]:
    """Yield the accounts, contacts and activities of day `birth`; the first day also brings the master data."""
    yield from activities(scene, birth)
    dice = scene.dice("crm", birth)
    if birth == 0:
        yield from _masters(scene)
        for number in range(1, scene.many(ACCOUNTS) + 1):
            yield from _account(scene, number, scene.moment(-dice.randrange(1, 90), dice))
        for number in range(1, scene.many(PROVIDERS) + 1):
            yield from _contact(scene, number, scene.moment(-dice.randrange(1, 90), dice))
    elif birth > 0:
        for number in range(scene.many(1)):
            identifier = scene.identifier(birth, number)
            yield from _account(scene, identifier, scene.moment(birth, dice, 8, 18))
            yield from _contact(scene, identifier, scene.moment(birth, dice, 8, 18), leaves=True)


def touches(scene: Scene, index: int) -> Iterator[Row]:
    """Yield the changes that day `index` makes to accounts, contacts and orderables of the first day."""
    dice = scene.dice("touches", index)
    for number in dice.sample(range(1, scene.many(ACCOUNTS) + 1), scene.many(2)):
        at = scene.moment(index, dice, 8, 18)
        # A renamed account leaves its old name on every activity that was saved before.
        renamed = {"name": f"{people.account(scene, number).name} (renamed {index})", "updated_at": at}
        yield Row.existing("account", {"id": number}, at, renamed)
        yield Row.existing("accounts_cstm", {"id_c": number}, at, {"contract_discount_c": Decimal(index % 50)})
    number, at = 1 + dice.randrange(scene.many(PROVIDERS)), scene.moment(index, dice, 8, 18)
    yield Row.existing("contact", {"id": number}, at, {"phone": people.phone(index), "updated_at": at})
    if index == 3:
        target = {"tat_target_minutes": 420, "updated_at": at}
        yield Row.existing("panel", {"id": 1}, at, target)


def _masters(scene: Scene) -> Iterator[Row]:
    at = scene.midnight(-60)
    yield from definitions(scene, at)
    for number in range(1, people.USERS + 1):
        name = people.user_name(number)
        values = {
            "id": number,
            "user_name": name,
            "full_name": f"{words.GIVEN_NAMES[number]} {words.FAMILY_NAMES[number]}",
            "email": f"{name}@{scene.tenant.id.replace('_', '-')}.example.org",
            "team": words.TEAMS[number % len(words.TEAMS)],
            # A flag column that holds 2: "on leave", as an older release wrote it.
            "is_active": 2 if number == people.USERS else 1,
            "updated_at": at,
        }
        yield Row.born("crm_user", at, values)
    for number, test in enumerate(CATALOGUE, start=1):
        panel = {
            "id": number,
            "code": test.code,
            "name": test.name,
            "department": test.department,
            "specimen_type": test.specimen,
            "tat_target_minutes": test.target,
            "stat_target_minutes": test.stat_target,
            "min_retest_hours": test.retest_hours,
            "price": Decimal(test.price),
            "is_billable": 1,
            "updated_at": at,
        }
        yield Row.born("panel", at, panel)
        yield _host_code("panel", CONNECTIONS[0], test.code, number, at)


def _account(scene: Scene, number: int, at: datetime) -> Iterator[Row]:
    account = people.account(scene, number)
    city, state, postal_code = words.CITIES[number % len(words.CITIES)]
    values = {
        "id": number,
        "name": account.name,
        "parent_id": account.parent_id,
        "host_code": "^".join(account.host_codes),
        "connection_id": "^".join(CONNECTIONS[: len(account.host_codes)]),
        "city": city,
        "state": state,
        "postal_code": postal_code,
        "phone": people.phone(number),
        "status": "prospect" if number % 7 == 0 else "active",
        "created_at": at - timedelta(days=number % 300),
        "updated_at": at,
    }
    yield Row.born("account", at, values)
    yield Row.born("accounts_cstm", at, side_row(scene, number))
    for place, (code, path) in enumerate(people.access_nodes(account)):
        node = {"account_id": number, "node_code": code, "node_path": path, "is_primary": int(place == 0), "updated_at": at}
        yield Row.born("account_access_node", at, node)
    for connection, code in zip(CONNECTIONS, account.host_codes, strict=False):
        yield _host_code("account", connection, code, number, at)


def _contact(scene: Scene, number: int, at: datetime, leaves: bool = False) -> Iterator[Row]:
    dice = scene.dice("contact", number)
    values = {
        "id": number,
        "account_id": people.pick_account(scene, dice.random()).id,
        "npi": f"9{number % 1_000_000_000:09d}",
        "given_name": dice.choice(words.GIVEN_NAMES),
        "family_name": dice.choice(words.FAMILY_NAMES),
        "credential": dice.choice(words.CREDENTIALS),
        "specialty": dice.choice(words.SPECIALTIES),
        "email": f"contact{number}@example.org",
        "phone": people.phone(number),
        "is_provider": 1,
        **slot_values(scene, "contact", number),
        "created_at": at - timedelta(days=number % 300),
        "updated_at": at,
    }
    rows = [Row.born("contact", at, values), _host_code("contact", CONNECTIONS[0], f"Prov{1000 + number}", number, at)]
    accounts = dict.fromkeys((values["account_id"], 1 + number % scene.many(ACCOUNTS)))
    for place, account_id in enumerate(accounts):
        works = {"role": ("ordering", "attending", "director")[(number + place) % 3], "is_primary": int(place == 0)}
        where = {"contact_id": number, "account_id": account_id, **works, "since": at.date() if number % 4 else None}
        rows.append(Row.born("provider_account", at, {**where, "updated_at": at}))
    if leaves:
        # Newcomers are taken back two days later: a hard delete in three tables.
        for row in rows:
            row.deleted(at + timedelta(days=2))
    yield from rows


def _host_code(record_type: str, connection: str, code: str, record: int, at: datetime) -> Row:
    values = {"record_type": record_type, "connection_id": connection, "host_code": code, "record_id": record}
    return Row.born("record_host_code", at, {**values, "updated_at": at})
