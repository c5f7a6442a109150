"""Scores as a table on stdout."""

from pathlib import Path


def score_table(file: Path) -> None:
    """Print ``scores.json``, with the intervals of the ``scores.tsv`` beside it if there is one."""
    from brain2pix.evaluation.report import format_table, read_lines
    from brain2pix.evaluation.scores import read_scores

    sheet = file.with_name("scores.tsv")
    print(f"\n{format_table(read_scores(file), read_lines(sheet) if sheet.is_file() else None)}\n")
