"""Bring a published dataset into a native folder."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.errors import ConfigError
from brain2pix.files import remove_half_written

if TYPE_CHECKING:
    from brain2pix.config.importing import ImportParams


def prepare(params: "ImportParams") -> Prepared:
    """Open the dataset, see that its pictures are there, and look at the target folder."""
    from brain2pix.data.readers import choose_reader
    from brain2pix.data.readers.describe import kind_of
    from brain2pix.data.readers.importing import Listener, Origin, import_dataset, rows_with_pictures

    if params.out.exists() and (not params.out.is_dir() or any(params.out.iterdir())):
        raise ConfigError(f"{params.out} exists and is not an empty folder; choose another place or remove it first")
    reader = choose_reader(params.kind, params.source)
    with ExitStack() as stack:
        dataset = stack.enter_context(reader.open(params.source, params))
        rows_with_pictures(dataset, params, Listener())
        opened = stack.pop_all()

    def run(context: JobContext) -> None:
        if context.run_folder is not None:  # which is this process's own: nobody else writes there for this job
            remove_half_written(params.out)
        with opened, context.stage("import"):
            for line in dataset.lines():
                context.message(line)
            listener = Listener(context.sink, context.cancel)
            import_dataset(dataset, params.out, params, listener, Origin(params.source, kind_of(reader)))

    return Prepared(params.model_dump(mode="json"), run)
