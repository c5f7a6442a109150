"""How a subject was imported: a note in its folder, written by the import and read by whoever asks later."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brain2pix import __version__
from brain2pix.files import read_json_if_there, write_json

SCHEMA = "b2p-import-1"
FILE = Path("sourcedata") / "import.json"  # BIDS has no rules for what lies in that folder
_SIDES = {"good": "left and right agree with the brain", "contradiction": "LEFT AND RIGHT CONTRADICT THE BRAIN"}


def write_provenance(root: Path, values: dict[str, Any]) -> Path:
    """Write the note.

    Parameters
    ----------
    root : Path, dataset folder
    values : dict, JSON values: `source` (name of the file), `kind`, `choices`, `sides` and what else is to be known

    Returns
    -------
    Path, the file
    """
    head = {"schema": SCHEMA, "created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": {"brain2pix": __version__}}
    write_json(root / FILE, {**head, **values})
    return root / FILE


def read_provenance(root: Path) -> dict[str, Any]:
    """Read the note of a dataset folder; empty if there is none that can be read."""
    values = read_json_if_there(root / FILE)
    return values if values.get("schema") == SCHEMA else {}


def provenance_lines(root: Path) -> list[str]:
    """Say in a line how a dataset was imported; empty if nothing is known of it."""
    values = read_provenance(root)
    if not values:
        return []
    sides, choices = values.get("sides"), values.get("choices")
    outcome = str(sides.get("outcome")) if isinstance(sides, dict) else ""
    parts = [f"{str(values.get('created'))[:10]} from {values.get('source')} as {values.get('kind')}"]
    parts += [f"with {', '.join(map(str, choices))}"] if isinstance(choices, dict) and choices else []
    return [f"imported  {'; '.join([*parts, _SIDES.get(outcome, 'left and right were not checked')])}"]
