"""A job is plain JSON: a kind, its parameters and the folder that it fills."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, unknown_name
from brain2pix.files import write_json

if TYPE_CHECKING:
    from brain2pix.config.base import Settings

SCHEMA = "b2p-job-1"
_KEYS = ("schema", "kind", "params", "folder", "hash", "versions")


@dataclass(frozen=True)
class JobSpec:
    """What is asked.

    Parameters
    ----------
    kind : str, row of `brain2pix.compute.kinds.KINDS`
    params : dict, JSON values (paths as text)
    folder : Path or None, the run folder; None only for kinds that need none
    """

    kind: str
    params: dict[str, Any]
    folder: Path | None = None

    @classmethod
    def from_file(cls, file: Path) -> "JobSpec":
        """Read a job from JSON, or from the ``job.json`` of a run folder.

        Relative paths, of ``folder`` and in ``params``, count from the file's own folder. Without ``folder``, ``job.json`` fills the folder
        that it lies in and ``NAME.json`` the folder ``NAME`` beside it.

        Raises
        ------
        MissingDataError
            If there is no such file.
        DataFormatError
            If it is not JSON of this form.
        """
        file = file / "job.json" if file.is_dir() else file
        if not file.is_file():
            raise MissingDataError(f"job file {file} does not exist; give a JSON file or a run folder with a job.json")
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataFormatError(f"job file {file} is not valid JSON: {error}") from None
        _check(values, file)
        place = file.absolute().parent
        default = place if file.name == "job.json" else place / file.stem
        folder = place / values["folder"] if values.get("folder") else default
        return cls(values["kind"], _absolute_paths(values["kind"], values.get("params", {}), place), folder)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the folder is where the file lies, so it is left out."""
        return {"schema": SCHEMA, "kind": self.kind, "params": json.loads(json.dumps(self.params, default=str))}

    def write(self) -> Path:
        """Write ``job.json`` into the run folder, to be started by ``brain2pix run FOLDER``."""
        if self.folder is None:
            raise ConfigError(f"a {self.kind} job without a folder cannot be written; give it a folder")
        write_json(self.folder / "job.json", self.to_dict())
        return self.folder / "job.json"


def job_hash(kind: str, params: "Settings") -> str:
    """Fingerprint of what is asked, defaults included: the same hash means the same job."""
    text = json.dumps({"kind": kind, "params": params.model_dump(mode="json")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _absolute_paths(kind: str, params: dict[str, Any], place: Path) -> dict[str, Any]:
    """Complete the paths among the parameters of a known kind."""
    from brain2pix.compute.kinds import KINDS

    fields = KINDS[kind].params.model_fields if kind in KINDS else {}
    paths = {name for name, field in fields.items() if field.annotation in (Path, Path | None)}
    return {name: str(place / value) if name in paths and isinstance(value, str) else value for name, value in params.items()}


def _check(values: Any, file: Path) -> None:
    if not isinstance(values, dict):
        raise DataFormatError(f"job file {file} must hold a JSON object, found {type(values).__name__}")
    for key in values:
        if key not in _KEYS:
            raise DataFormatError(f"job file {file}: {unknown_name('key', key, _KEYS)}")
    if not isinstance(values.get("kind"), str):
        raise DataFormatError(f"job file {file} needs 'kind', the name of a kind of job, e.g. \"train\"")
    if not isinstance(values.get("params", {}), dict):
        raise DataFormatError(f"job file {file}: 'params' must be an object, found {type(values['params']).__name__}")
    if values.get("schema", SCHEMA) != SCHEMA:
        raise DataFormatError(f"job file {file} has schema {values['schema']!r}, this version reads {SCHEMA!r}")
