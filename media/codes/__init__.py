"""Codes on paper: `qr` makes a QR as one vector path, `label` sets it on a printable label with the machine's names."""
