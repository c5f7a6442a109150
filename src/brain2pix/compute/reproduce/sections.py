"""Parts of the report: each table with value, 95 % interval, chance and N, and the published number beside it."""

from typing import TYPE_CHECKING

from brain2pix.compute.reproduce.compare import MISSING, RANK
from brain2pix.compute.reproduce.gather import states
from brain2pix.compute.reproduce.html import Markup, element, table
from brain2pix.compute.reproduce.plans import MAIN, averaged_name
from brain2pix.compute.reproduce.prepare import classes_network
from brain2pix.compute.reproduce.published import PUBLISHED, Circumstances, Published, data_of, not_comparable, person_of
from brain2pix.compute.reproduce.rows import WAYS
from brain2pix.compute.sweep_cells import seconds_of
from brain2pix.evaluation.statistics import describe_p
from brain2pix.files import read_json_if_there
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brain2pix.compute.reproduce.gather import Findings
    from brain2pix.compute.reproduce.prepare import Reproduction
    from brain2pix.evaluation.report import ScoreLine

_SIMULATED = "SIMULATED SUBJECT"
_FEW = 10  # our choice: below it a percentile bootstrap is known to be too narrow
_PER_IMAGE = "95 % intervals by bootstrap over photographs"


def head(reproduction: "Reproduction") -> "Iterator[object]":
    """Say what the report is about, and with what it was made."""
    subject, plan, test = reproduction.subject, reproduction.plan, reproduction.test
    if subject.simulated:
        words = "responses were made by a program, not measured: no number here says how well a brain can be read"
        yield element("p", element("span", _SIMULATED, kind="badge simulated"), f" {words}.")
    settings = ", ".join(f"{key} = {value}" for key, value in plan.settings.items())
    facts = {
        "data": f"{subject.title}, {subject.name}",
        "method and preset": f"{plan.method}, preset {plan.preset}{', with ' * bool(settings)}{settings}",
        "plan": f"{plan.name}: {len(reproduction.cells)} trainings",
        "voxels": f"{reproduction.regions[MAIN]}: {test.responses.shape[1]:,}",
        "test images": f"{len(test.images)} of {len(set(test.groups.tolist()))} photographs or classes, "
        f"{len(test.repeats.values) / len(test.images):g} repeats each, in the mean",
        "seeds": f"{', '.join(map(str, range(plan.runs)))}; rows without a number of runs: seed 0",
        "devices": ", ".join(sorted(_gathered(reproduction, "device"))) or "not trained yet",
        "time of all trainings": f"{sum(seconds_of(cell.train.folder) or 0 for cell in reproduction.cells):,} s",
        "versions": "; ".join(sorted(_versions(reproduction))) or "not trained yet",
    }
    yield table("What was run", ("", ""), facts.items(), key="facts")
    if plan.name != "paper":
        yield element(
            "p", "A plan with few steps and few cells: it shows that everything runs, not what the paper's training reaches.", kind="note"
        )


def missing(found: "Findings") -> "Iterator[object]":
    """Say what is not there, and why."""
    yield element("h2", "Missing")
    if not found.missing:
        yield element("p", "Nothing.")
    else:
        yield table("Nothing was put in its place", ("what", "why, and how to get it"), found.missing.items(), key="missing")


def orderings(found: "Findings") -> "Iterator[object]":
    """Say whether the orderings of the paper are found."""
    yield element("h2", "Orderings of the paper")
    rows, few = [], False
    for claim, verdict, by in found.orderings:
        difference = f"{by.difference.mean:+.1f} [{by.difference.low:+.1f}, {by.difference.high:+.1f}]" if by else ""
        judged = RANK if claim.family == RANK else _judge_title(found, found.judge)
        p = describe_p(by.corrected) if by else ""
        shown = element("b", verdict, kind="missing" if verdict == MISSING else "")
        rows.append((claim.statement, shown, difference, p, judged, claim.source))
        few |= by is not None and by.difference.n_clusters < _FEW
    if few:
        words = (
            f"Fewer than {_FEW} photographs or classes: a bootstrap over so few gives intervals that are too narrow. Read p beside them."
        )
        yield element("p", words, kind="note")
    caption = f"Mean paired difference in percentage points of 2-way identification, or ranks; {_PER_IMAGE}"
    yield table(caption, ("ordering", "here", "difference", "p after Holm", "judged by", "stated in"), rows, key="orderings")


def beside(reproduction: "Reproduction", found: "Findings") -> "Iterator[object]":
    """Put each published number beside ours."""
    yield element("h2", "Beside the published numbers")
    here = circumstances(reproduction)
    rows = []
    for entry in PUBLISHED[reproduction.plan.method]:
        line = line_beside(entry, found, here)
        reasons = not_comparable(entry, here)
        ours: object = element("span", "missing", kind="missing") if line is None else value(line)
        if not entry.at:
            ours = element("span", "not measured here", kind="missing")
        about = [entry.data, f"subject {entry.subject}" if entry.subject else "", entry.n, entry.source]
        chance = "" if line is None or line.chance is None else _number(line.chance, line)
        n = "" if line is None or line.n is None else f"{line.n:,}"
        rows.append(
            (entry.quantity, entry.value, ", ".join(part for part in about if part), ours, chance, n, "; ".join(reasons) or "comparable")
        )
    columns = ("quantity", "published", "source", "here", "chance", "N here", "not comparable, because")
    yield table("Numbers of the papers as printed", columns, rows, key="published")


def identification(reproduction: "Reproduction", found: "Findings") -> "Iterator[object]":
    """N-way identification and rank, one table for each judge."""
    yield element("h2", "Identification")
    words = "Exact: the mean over all sets of distractors, which are the other test images; of equals, each wins as often. "
    yield element("p", words, "Rank: share of the other images that are more alike than the true one, 0 is best, chance .5.", kind="note")
    here = circumstances(reproduction)
    for judge in found.judges:
        yield element("h3", f"By {judge.title}")
        if judge.why:
            yield element("p", f"missing: {judge.why}", kind="missing")
            continue
        ways = [n for n in WAYS if n <= len(reproduction.test.images)]
        scores = [*((("identification", f"{judge.key} {n}-way")) for n in ways), ("rank", f"{judge.key} rank")]
        rows = [["chance", *(f"{100 / n:.1f}" for n in ways), ".5", "", "", ""]]
        for each in found.pictures:
            cells = [value(found.line(part, each.row.name, score)) for part, score in scores]
            lines = [found.line("identification", each.row.name, score) for _, score in scores[:1]]
            n = "" if lines[0] is None else f"{lines[0].n}"
            rows.append(
                [_title(each.row.title, each.transductive), *cells, n, _published(reproduction, here, each.row.name, judge.key), each.why]
            )
        columns = ("row", *(f"{n}-way [%]" for n in ways), "rank", "N", "published", "missing, because")
        yield table(f"{judge.title}; {_PER_IMAGE}", columns, rows, key=f"identification-{judge.key}")


def statistics(found: "Findings") -> "Iterator[object]":
    """Paired comparisons of rows."""
    yield element("h2", "Statistics")
    rows = [
        (_judge_title(found, each.family), f"{each.better} against {each.worse}",
         _cell(f"{each.difference.mean:+.1f} [{each.difference.low:+.1f}, {each.difference.high:+.1f}]"),
         each.difference.n, describe_p(each.p), describe_p(each.corrected))
        for each in found.comparisons
    ]  # fmt: skip
    words = (
        "Wilcoxon's signed-rank test, two-sided, paired over images, takes images as independent, which crops of one photograph are not: "
    )
    yield element("p", words, "read it beside the interval. Holm's correction runs over the comparisons of one judge.", kind="note")
    columns = ("judge", "rows", "difference [points of 2-way, or ranks]", "N", "Wilcoxon p", "p after Holm")
    yield table(f"Paired differences; {_PER_IMAGE}", columns, rows, key="statistics")


def classification(reproduction: "Reproduction", found: "Findings") -> "Iterator[object]":
    """Zero-shot classification among the classes of a gallery."""
    yield element("h2", "Classification")
    lines = [line for line in found.lines if line.part == "classification"]
    if not lines:
        why = {words: why for words, why in found.missing.items() if words.startswith("classification")}
        yield element("p", f"missing: {'; '.join(why.values()) or 'not run'}", kind="missing")
        return
    here = circumstances(reproduction)
    rows = [
        (line.row, line.score, value(line), "" if line.chance is None else _number(line.chance, line), line.n, _network_named(line.note),
         "; ".join(_said(entry, here) for entry in _entries(reproduction, here) if entry.at == (line.part, line.row, line.score)))
        for line in lines
    ]  # fmt: skip
    columns = ("row", "score", "value", "chance", "N", "features, classes", "published")
    yield table(f"Rank of the true class, 1 is best; {_PER_IMAGE}", columns, rows, key="classification")


def encoder(found: "Findings") -> "Iterator[object]":
    """Noise ceilings and accuracy of the encoder."""
    yield element("h2", "Encoder and noise ceilings")
    parts = {
        "ceiling": "Noise ceiling: largest correlation with the mean of all test repeats that noise allows",
        "accuracy": "Noise-corrected accuracy: correlation with the test responses over the ceiling, where that is above .2; not clipped",
        "encoder": "Correlation of predicted with measured test responses",
        "maps": "Receptive fields read from the encoder",
    }
    for part, caption in parts.items():
        lines = [line for line in found.lines if line.part == part]
        if not lines:
            yield element("p", f"missing: {caption.partition(':')[0].lower()}", kind="missing")
            continue
        rows = [
            (line.row, line.score, value(line), "" if line.chance is None else f"{line.chance:g}", f"{line.n or ''}", line.note)
            for line in lines
        ]
        yield table(caption, ("voxels", "score", "value", "chance", "N voxels", "note"), rows, key=part)


def cells(reproduction: "Reproduction") -> "Iterator[object]":
    """Every training: how it stands, where and how long it ran."""
    yield element("h2", "Cells")
    stands = {name: (state, why) for name, state, why in states(reproduction.cells)}
    rows = []
    for cell in reproduction.cells:
        state, why = stands[cell.id]
        resolved = read_json_if_there(RunFolder(cell.train.folder).settings)
        seconds = seconds_of(cell.train.folder)
        shown = element("span", state, kind="" if state == "finished" else "missing")
        rows.append((cell.id, cell.at.ablation, cell.region, cell.at.seed, shown, resolved.get("n_voxels", ""), resolved.get("device", ""),
                     "" if seconds is None else seconds, ", ".join(cell.lenders.values()), why))  # fmt: skip
    columns = ("cell", "trained on", "region", "seed", "state", "voxels", "device", "training [s]", "encoder from", "why")
    yield table("Trainings", columns, rows, key="cells")


def circumstances(reproduction: "Reproduction") -> Circumstances:
    """Say what decides whether a published number may stand beside ours."""
    subject, plan = reproduction.subject, reproduction.plan
    runs = dict.fromkeys(plan.averaged, plan.runs)
    return Circumstances(data_of(subject.title), person_of(subject.name), subject.simulated, plan.name != "paper", runs, classes_network())


def line_beside(entry: Published, found: "Findings", here: Circumstances) -> "ScoreLine | None":
    """Our number that stands beside a published one: of the mean over runs where the paper averages and there is one."""
    if not entry.at:
        return None
    part, row, score = entry.at
    averaged = found.line(part, averaged_name(row, here.runs.get(row, 1)), score) if entry.runs > 1 else None
    return averaged or found.line(part, row, score)


def value(line: "ScoreLine | None") -> Markup:
    """Write a number with its interval as a cell."""
    if line is None:
        return element("td", "missing", kind="number missing")
    interval = "" if line.low is None or line.high is None else f" [{_number(line.low, line)}, {_number(line.high, line)}]"
    return _cell(f"{_number(line.value, line)}{interval}{' %' * (line.unit == '%')}{' s' * (line.unit == 's')}")


def _number(number: float, line: "ScoreLine") -> str:
    digits = 1 if line.unit == "%" or line.score == "median rank" else 0 if line.unit == "s" else 3
    return f"{number:.{digits}f}"


def _cell(words: str) -> Markup:
    return element("td", words, kind="number")


def _title(title: str, transductive: tuple[str, ...]) -> Markup:
    if not transductive:
        return element("td", title)
    return element("td", title, " ", element("span", f"transductive: {', '.join(transductive)}", kind="badge"))


def _judge_title(found: "Findings", key: str) -> str:
    return next((judge.title for judge in found.judges if judge.key == key), key)


def _entries(reproduction: "Reproduction", here: Circumstances) -> list[Published]:
    """List the published numbers of this person where there are any of these data, else all."""
    entries = PUBLISHED[reproduction.plan.method]
    same = [entry for entry in entries if entry.data == here.data and entry.subject in (None, here.subject)]
    return same if here.data else list(entries)


def _published(reproduction: "Reproduction", here: Circumstances, row: str, judge: str) -> str:
    name, _, runs = row.partition(", ")
    averaged = bool(runs)
    found = [
        entry
        for entry in _entries(reproduction, here)
        if entry.at[1:2] == (name,)
        and entry.at[2].startswith(f"{judge} ")
        and (averaged == (entry.runs > 1 and here.runs.get(name, 1) > 1))
    ]
    return "; ".join(f"{entry.at[2].removeprefix(f'{judge} ')} {_said(entry, here)}" for entry in found)


def _said(entry: Published, here: Circumstances) -> str:
    """Write a published number with whose it is and what it cannot be compared for."""
    whose = ", ".join(part for part in (entry.data, f"subject {entry.subject}" if entry.subject else "") if part)
    reasons = not_comparable(entry, here)
    return f"{entry.value} ({whose}{'; not comparable: ' * bool(reasons)}{'; '.join(reasons)})"


def _gathered(reproduction: "Reproduction", key: str) -> set[str]:
    found = (read_json_if_there(RunFolder(cell.train.folder).settings).get(key) for cell in reproduction.cells)
    return {str(each) for each in found if each}


def _versions(reproduction: "Reproduction") -> set[str]:
    found = (read_json_if_there(RunFolder(cell.train.folder).job).get("versions", {}) for cell in reproduction.cells)
    return {", ".join(f"{name} {number}" for name, number in each.items()) for each in found if each}


def _network_named(note: str) -> str:
    """Call the bundled network what it is."""
    return note.replace("features of tiny", "features of the bundled network")
