"""``brain2pix cache``."""

from typing import Annotated

from cyclopts import Parameter


def cache(*, clear: Annotated[bool, Parameter(help="Remove them; what is needed is made again.", negative="")] = False) -> int:
    """List the caches that trainings made: responses as memory maps, predicted responses to images without any, and stacks of images."""
    from datetime import datetime

    from brain2pix.data.cache import cache_folder, cached_files

    files = cached_files()
    total = 0
    for path in files:
        status = path.stat()
        total += status.st_size
        print(f"{status.st_size / 1e6:10,.1f} MB  {datetime.fromtimestamp(status.st_mtime):%Y-%m-%d %H:%M}  {path}")
        if clear:
            path.unlink()
    print(f"{'removed' if clear else 'in all'} {len(files)} files, {total / 1e6:,.1f} MB, in {cache_folder().parent}")
    return 0
