"""The page on performance: from the record, whatever of it is there."""

from __future__ import annotations

import json

from ncode.reproduction.publishing import markdown, performance, targets


def line(suite: str, way: str, fields: str = "near", **config) -> str:
    metrics = {"seconds": 0.002, "ratio": 2.5, "ratio_low": 2.0, "ratio_high": 3.0, "error": 1e-4, "tolerance": 1e-3}
    metrics |= {"nfe": 70, "megabytes": 12.0}
    metrics["evaluations"] = 20_000.0
    facts = {"device": "a processor", "threads": 1, "versions": {"torch": "2"}, "commit": "abc", "load": 3.2}
    config = {"suite": suite, "way": way, "kind": "open loop", "fields": fields, "threads": 1, "seed": 0, **config}
    return json.dumps({"id": way + suite, "experiment": "b", "config": config, "metrics": metrics, "provenance": facts})


def record(tmp_path, *lines):
    path = tmp_path / "performance.jsonl"
    path.write_text("".join(f"{one}\n" for one in lines))
    return performance.load(path)


def test_a_table_says_what_was_not_measured(tmp_path):
    rows = performance.step_rows("open loop", record(tmp_path, line("step", "ncode"), line("step", "peer", "far")))
    assert rows[0] == ["ncode", "1", "2.00", "2.50 (2.00 to 3.00)", "1.0\xa0×\xa010⁻⁴", "0.001", "–", "–", "–", "–"]
    assert rows[1][2:6] == ["–"] * 4 and rows[1][6] == "2.00"


def test_own_steps_stand_beside_shared_ones(tmp_path):
    own = line("independent", "independent", "stiff")
    (row,) = performance.independent_rows(record(tmp_path, line("step", "ncode"), own))
    assert row[:4] == ["one stiff sample", "independent", "2.0", "2.50 (2.00 to 3.00)"]
    assert row[4:] == ["20000", "1.0\xa0×\xa010⁻⁴", "0.001"]


def test_a_gpus_steps_stand_beside_their_graph(tmp_path):
    def on_gpu(way: str, fields: str, tf32: bool, **metrics: float) -> str:
        one = json.loads(line("gpu", way, fields, kind="ANODE", tf32=tf32, card="card A"))
        return json.dumps({**one, "metrics": metrics})

    lines = []
    for tf32, error, ratio in ((False, 1e-7, 1.5), (True, 1e-4, 4.5)):
        free = {"seconds": 0.03, "nfe": 14, "kernels": 0.007, "launches": 800, "error": error, "gradient_error": 0.01}
        lines.append(on_gpu("as it is", "dopri5", tf32, **free))
        if not tf32:
            lines.append(on_gpu("graphs of steps", "dopri5", tf32, seconds=0.012, eager=0.03, ratio=2.5))
        lines.append(on_gpu("one graph", "rk4", tf32, seconds=0.01, eager=0.01 * ratio, ratio=ratio))
    rounded, full = performance.gpu_rows(record(tmp_path, *lines))
    assert full == ["ANODE, full float32", "card A", "30.0", "14", "7.0", "800", "1.0\xa0×\xa010⁻⁷", "0.010"]
    assert rounded[0] == "ANODE, TF32" and rounded[6] == "1.0\xa0×\xa010⁻⁴"
    rounded, full = performance.graph_rows(record(tmp_path, *lines))
    assert full == ["ANODE, full float32", "card A", "30.0", "12.0", "2.50", "15.0", "10.0", "1.50"]
    assert rounded == ["ANODE, TF32", "card A", "–", "–", "–", "45.0", "10.0", "4.50"]
    rows = {row[0]: row[1:] for row in targets.goal_rows(record(tmp_path, *lines))}
    (missed,) = (row for name, row in rows.items() if "ANODE" in name and "full float32" in name)
    (reached,) = (row for name, row in rows.items() if "ANODE" in name and "TF32" in name)
    assert missed == ["≥ 4", "1.50", "no"] and reached == ["≥ 4", "4.50", "yes"]


def test_figures_are_drawn_of_what_is_there(tmp_path):
    assert performance.draw(tmp_path, []) == []
    one = [line("precision", "ncode"), line("batch", "ncode", size=16)]
    assert performance.draw(tmp_path, record(tmp_path, *one)) == []
    two = [line("precision", "ncode", tolerance=1e-4), line("batch", "ncode", size=32)]
    drawn = performance.draw(tmp_path, record(tmp_path, *one, *two))
    assert drawn == ["performance-precision", "performance-scaling"]
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in drawn)


def test_growth_of_memory_and_stiffness_is_drawn(tmp_path):
    lines = [line("memory", mode, size=size) for mode in ("direct", "adjoint") for size in (4, 16)]
    lines += [line("stiff", "rodas4", "one", kind="Robertson", size=size) for size in (0.4, 4.0)]
    found = performance.drawable(record(tmp_path, *lines))
    assert [panel.up for panel in found["performance-memory"]] == ["seconds", "megabytes"]
    assert [panel.title for panel in found["performance-stiff"]] == ["Robertson"]
    assert performance.draw(tmp_path, record(tmp_path, *lines)) == ["performance-memory", "performance-stiff"]


def test_a_stiff_problem_that_one_method_did_not_finish_says_so(tmp_path):
    lines = [line("stiff", way, "one", kind="Van der Pol", size=3.0) for way in ("rodas4", "dopri5")]
    lines += [line("stiff", "rodas4", "one", kind="Van der Pol", size=1000.0)]
    first, second = performance.stiff_rows(record(tmp_path, *lines))
    assert first[0] == "Van der Pol, μ = 3" and first[-1] == "2.50 (2.00 to 3.00)"
    assert second == ["Van der Pol, μ = 1000", "70", "2.00", "1.0\xa0×\xa010⁻⁴", "–", "–", "–", "–"]


def test_numbers_say_where_they_come_from(tmp_path):
    said = performance.described(record(tmp_path, line("step", "ncode")))
    assert all(word in said for word in ("a processor", "1 thread", "abc", "torch 2", "load was about 3."))
    assert "make bench" in performance.described([])


def test_the_page_can_be_filled(monkeypatch):
    """Of the record that lies in the repository, and of none."""
    for what in (
        ("steps", "open", "loop"),
        ("performance-precision",),
        ("performance-scaling",),
        ("independent",),
        ("targets",),
        ("shares",),
        ("gpu",),
        ("provenance",),
    ):
        assert isinstance(markdown.FILLS["measured"](None, *what), str)
    monkeypatch.setattr(performance, "load", lambda path=None: [])
    assert "not measured" in markdown.FILLS["measured"](None, "performance-scaling")


def test_a_target_is_reached_missed_or_not_measured(tmp_path):
    """Of the step's ratios, torchdiffeq's better norm counts; a kind that was not measured is told."""

    def peer(way: str, ratio: float, kind: str) -> str:
        one = json.loads(line("step", way, kind=kind))
        one["metrics"]["ratio"] = ratio
        return json.dumps(one)

    lines = [peer("ncode", 1.0, kind) for kind in targets.KINDS[:2]]
    lines += [peer("torchdiffeq", 7.0, "open loop"), peer("torchdiffeq", 5.5, "neural ODE")]
    lines += [peer("torchdiffeq, worst-sample norm", 4.0, "open loop")]
    rows = targets.step_rows(record(tmp_path, *lines))
    assert rows[0] == [
        "ncode",
        "near-equal fields",
        "torchdiffeq",
        "≥ 5",
        "4.00",
        "5.50",
        "–",
        "1 of 2, 1 not measured",
    ]
    assert rows[1][-1] == "not measured" and len(rows) == len(targets.STEPS)


def test_a_ratio_to_a_faster_way_is_taken_from_the_record(tmp_path):
    lines = []
    for way, ratio in (("ncode", 1.0), ("ncode, compiled", 0.5), ("diffrax, batched", 1.6)):
        one = json.loads(line("step", way))
        one["metrics"]["ratio"] = ratio
        lines.append(json.dumps(one))
    rows = targets.step_rows(record(tmp_path, *lines))
    (found,) = [row for row in rows if row[:3] == ["ncode, compiled", "near-equal fields", "diffrax, batched"]]
    assert found[4] == "3.20" and found[-1] == "yes, 2 not measured"


def test_every_other_target_has_a_row(tmp_path):
    lines = [line("training", "ncode", "spheres"), line("flow", "exact", size=25), line("flow", "exact", size=64)]
    lines += [line("block", "adjoint", targets.BLOCKS[0]), line("block", "Appendix B", targets.BLOCKS[2])]
    rows = {row[0]: row[1:] for row in targets.goal_rows(record(tmp_path, *lines))}
    # And the growth of memory, and the book.
    assert len(rows) == len(targets.GOALS) + 2
    (spheres,) = [row for name, row in rows.items() if "spheres" in name]
    assert spheres == ["≤ 0.5", "2.50 (2.00 to 3.00)", "no"]
    assert [row[-1] for name, row in rows.items() if "m = " in name] == ["no", "no", "not measured"]
    assert rows[f"adjoint over direct gradients: block of {targets.BLOCKS[0]}"][-1] == "no"
    assert all(row[-1] == "not measured" for name, row in rows.items() if "GPU" in name or "make book" in name)


def test_memory_grows_with_an_exponent(tmp_path):
    assert targets.memory_growth([]) is None
    lines = []
    for steps, megabytes in ((4, 3.0), (16, 6.0), (64, 12.0)):
        one = json.loads(line("memory", "checkpointed", size=steps))
        one["metrics"]["megabytes"] = megabytes
        lines.append(json.dumps(one))
    assert abs(targets.memory_growth(record(tmp_path, *lines)) - 0.5) < 1e-12


def test_shares_are_of_the_whole_step(tmp_path):
    one = json.loads(line("shares", "ncode", size=10.0))
    seconds = {"field_forward": 0.0006, "field_backward": 0.0004, "arithmetic": 0.0005, "autograd": 0.0005}
    one["metrics"] |= {"seconds": 0.002, **seconds, "loop": -1e-5, "operations": 300}
    (row,) = targets.share_rows(record(tmp_path, json.dumps(one)))
    assert row[0] == "ncode: open loop, near-equal fields, T = 10"
    assert row[1:] == ["2.00", "30 %", "20 %", "25 %", "25 %", "0 %", "300", "2.0"]
    one["metrics"]["rest"] = 0.00075
    (row,) = targets.share_rows(record(tmp_path, json.dumps(one)))
    assert row[0].endswith("; 0.75 ms more make an iteration")


def test_a_blocks_gradients_stand_beside_direct_ones(tmp_path):
    one = json.loads(line("block", "adjoint", targets.BLOCKS[2]))
    one["metrics"] |= {"seconds": 2.5, "forward": 14.0, "backward": 20.0}
    (row,) = targets.block_rows(record(tmp_path, json.dumps(one)))
    assert row == ["Table 1, MNIST", "adjoint", "2500", "2.50 (2.00 to 3.00)", "14", "20"]


def test_a_books_minutes_are_those_of_its_environment_too(tmp_path):
    def book(seconds: float) -> str:
        one = json.loads(line("book", "make book"))
        return json.dumps({**one, "metrics": {"environment": 90.0, "seconds": seconds}})

    row = targets.book_row(record(tmp_path, book(660.0)))
    assert row[1:] == ["≤ 13", "12.5 (1.5 of them its environment)", "yes"]
    assert targets.book_row(record(tmp_path, book(720.0)))[-1] == "no"
    assert targets.book_row([])[-1] == "not measured"
