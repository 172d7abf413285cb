"""What an operator does beside the running server: backup, restore, doctor, HTTPS on the plant's net.

Nothing here is asked by a phone. Each command works on the folders and the database that the settings name, whether the server runs or
not, says in both languages what it did, and leaves what was there until what comes has been verified.
"""

from backend.kernel.errors import Text


class NotDone(Exception):
    """The command did not do what was asked; nothing was changed. `text` says why and what to do."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(f"{zh}\n{en}")
        self.text = Text(zh, en)
