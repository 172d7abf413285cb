"""What sign-in keeps. Columns are whole numbers and text; times are Unix ms. The schema itself is made by `migrations/0002_auth.py`."""

from piccolo.columns import BigInt, Text, Varchar
from piccolo.table import Table

from backend.store.engine import ENGINE


class AccountRow(Table, db=ENGINE, tablename="account"):
    """A name to sign in with, for one person; `password` is the PHC string of Argon2id."""

    username = Varchar(primary_key=True)
    person = Varchar()
    password = Text()
    made_at = BigInt()
    changed_at = BigInt()


class AttemptRow(Table, db=ENGINE, tablename="attempt"):
    """A password that was tried; `account` is the hash of the name tried."""

    id = Varchar(primary_key=True)
    account = Varchar()
    at = BigInt()


class EventRow(Table, db=ENGINE, tablename="auth_event"):
    """What was done: sign-ins, sign-outs, accounts, revocations, phones; by whom, to whom, on which phone."""

    id = Varchar(primary_key=True)
    at = BigInt()
    what = Varchar()
    by_person = Varchar(null=True, default=None)
    person = Varchar(null=True, default=None)
    device = BigInt(null=True, default=None)
