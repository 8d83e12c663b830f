# SPDX-License-Identifier: Apache-2.0
"""What a user of the live page does and sees, on real trainings."""

import contextlib
import csv
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from deploy.project import ROOT, Binaries
from tests.harness.cluster import Cluster, Layout
from tests.harness.commands import run
from tests.harness.errors import Violation, expect
from tests.harness.job import job_text
from tests.harness.ports import free_ports
from tests.harness.waiting import wait_for
from tests.page.browser import Browser, Page

LAYOUT = Layout(shards=2, workers=2)
MANY_STEPS = 100000  # more than a test takes: it ends the training
MAX_BYTES = 1 << 20  # to open the page
READY = "model.status && model.status.state === 'training' && newestStep() >= 10"


@dataclasses.dataclass(frozen=True)
class Scene:
    """What all scenarios use."""
    binaries: Binaries
    folder: pathlib.Path
    browser: Browser
    screenshots: pathlib.Path | None

    def picture(self, page: Page, name: str, full: bool = False) -> None:
        """Writes a picture, if pictures are wanted."""
        if self.screenshots:
            page.screenshot(self.screenshots / f"{name}.png", full)

    @contextlib.contextmanager
    def training(self, name: str) -> Iterator[tuple[Cluster, str, Callable[[], None]]]:
        """A training with a live page: the cluster, the page's address, and what starts shard 0."""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        with Cluster(self.binaries, self.folder / name, LAYOUT, self.folder / "data",
                     MANY_STEPS) as cluster:

            def start_coordinator() -> None:
                cluster.coordinator.start(f"--http={address}")

            start_coordinator()
            cluster.start()
            wait_for(cluster.status, "the coordinator to answer", 30, cluster.tails)
            yield cluster, f"http://{address}/", start_coordinator


def check_accessibility(page: Page, what: str) -> None:
    """Expects that axe-core finds nothing."""
    found = page.accessibility()
    expect(not found, f"{what}: axe-core finds {len(found)} violations: {' | '.join(found)}")


def check_grows(page: Page) -> None:
    """Expects that curves grow as steps happen, without a reload."""
    page.evaluate("void (window.shownOnce = true)")
    before = page.evaluate("newestStep()")
    page.wait(f"newestStep() >= {before} + 20 && window.shownOnce", "20 more steps")
    page.wait("['c-accuracy','c-loss','c-change','c-multiplier','c-rate'].every("
              "(id) => charts.some((c) => c.div.id === id && c.graph && c.graph.numRows() > 5))",
              "lines in all charts")
    page.wait("Number(document.querySelector('#t-step b').textContent.replaceAll(',', '')) >= "
              f"{before}", "the number of steps on its tile")


def check_picking(page: Page) -> None:
    """Expects that mouse, keys and buttons pick a step."""
    page.hover("#c-change .chart canvas", 0.5)
    page.wait("!picked.follows && picked.step > 0 && picked.step < newestStep()",
              "a step that the mouse picks")
    step = page.evaluate("picked.step")
    page.wait(f"document.getElementById('figure-step').textContent.replaceAll(',', '') === '{step}' "
              "&& document.querySelectorAll('#figure rect').length === 8",
              "Figure 1 with two bars for each of four layers at that step")
    page.wait("charts.filter((c) => c.graph).every((c) => !c.cursor.hidden)", "a cursor in all charts")
    page.press("ArrowRight")
    expect(page.evaluate("picked.step") == step + 1, "expected the arrow key to pick the next step")
    page.press("ArrowLeft", "#picker")
    expect(page.evaluate("picked.step") == step, "expected an arrow key on the slider to pick a step")
    page.click("#latest")
    page.wait("picked.follows && picked.step >= newestStep() - 50", "the latest step again")


def check_tables(page: Page) -> None:
    """Expects shards and workers with what they do."""
    page.wait("model.activity.shards.length === 2 && model.activity.shards.every((s) => "
              "s.load && s.load.memory > 0 && s.load.received + s.load.shared > 0)",
              "two shards with their load")
    page.wait("model.activity.workers.length === 2 && model.activity.workers.every((w) => "
              "w.rate > 0 && w.leases > 0 && w.times) && "
              "model.activity.workers.map((w) => w.transport).join() === 'shared memory,connection'",
              "two workers, how fast they are, and how their values travel")
    page.wait("document.querySelectorAll('#workers tbody tr').length === 2 && "
              "document.querySelectorAll('#shards tbody tr').length === 2", "their tables")


def check_numbers(cluster: Cluster, page: Page) -> None:
    """Expects the same numbers for the same step on the page and from pdctl, as JSON and as CSV."""
    text = cluster.pdctl("stats", "--last=5", "--format=json", seconds=10)
    expect(text is not None, "pdctl stats failed")
    steps = json.loads(text or "[]")
    step = steps[0]["step"] if "step" in steps[0] else steps[0]["updates"][0]["step"]
    exact = page.evaluate(f"loadStep({step})")
    updates = steps[0]["updates"] if "updates" in steps[0] else steps[0]["tensors"]
    expect(len(exact["updates"]) == len(updates) == 8, "expected 8 tensors on the page and from pdctl")
    for shown, told in zip(exact["updates"], updates):
        for name, value in shown.items():
            expect(told[name] == value, f"step {step}, {shown['tensor']}, {name}: the page shows "
                   f"{value}, pdctl {told[name]}")
    lines = cluster.pdctl("stats", "--last=50", "--format=csv", seconds=10) or ""
    rows = [row for row in csv.DictReader(lines.splitlines()) if int(row["step"]) == step]
    for shown, row in zip(exact["updates"], rows, strict=True):
        expect(float(row["relative_delta"]) == shown["relative_delta"] and
               float(row["multiplier"]) == shown["multiplier"],
               f"step {step}: the CSV has {row}, the page shows {shown}")
    page.click("#latest")
    page.evaluate(f"pick({step}, 'test')")
    first = updates[0]["relative_delta"]
    page.wait(f"document.querySelector('#numbers tbody td:nth-child(3)').textContent === share({first})"
              f" && document.getElementById('figure-step').textContent === count({step})",
              "pdctl's number in the table of the step")
    page.click("#latest")


def check_pause(cluster: Cluster, page: Page) -> None:
    """Expects that a pause and its end are marked and listed."""
    for command, state in (("pause", "paused"), ("resume", "training")):
        expect(cluster.pdctl(command, seconds=10) is not None, f"pdctl {command} failed")
        page.wait(f"model.status.state === '{state}' && changeChart.graph.marks.{command} === 1 && "
                  "document.getElementById('events').textContent.includes("
                  f"'{command}d by an operator')",
                  f"a mark of a {command}, and its line in the list of events")


def check_drain(cluster: Cluster, page: Page) -> None:
    """Expects that a drain is marked and listed until its end."""
    expect(cluster.pdctl("drain", seconds=30) is not None, "pdctl drain failed")
    page.wait("changeChart.graph.marks.drain === 2 && "
              "document.getElementById('events').textContent.includes('drained: the checkpoint of')",
              "marks of a drain and its end, and their lines in the list of events")


def check_faults(scene: Scene, cluster: Cluster, page: Page, start_coordinator: Callable[[], None]
                 ) -> None:
    """Kills a worker, a shard and the coordinator, and expects that the page says so."""
    cluster.workers[1].kill()
    page.wait("model.events.some((e) => e.kind === 'fault' && e.text.includes('worker-1'))",
              "a fault of the worker that was killed")
    cluster.workers[1].start()
    generation = page.evaluate("model.status.generation")
    cluster.servers[1].kill()
    cluster.servers[1].start()
    page.wait("model.events.some((e) => e.kind === 'shard' && e.text.includes('shard 1 returned'))",
              "the shard that was restarted")
    page.wait(f"model.status.generation > {generation} && model.events.filter((e) => "
              "e.kind === 'generation').length === 2", "the generation that it opened")
    page.wait("changeChart.graph.marks.fault >= 1 && changeChart.graph.marks.shard >= 1 && "
              "changeChart.graph.marks.generation >= 1 && changeChart.graph.marks.checkpoint >= 1",
              "marks on the chart")
    page.wait("document.getElementById('events').textContent.includes('shard 1 returned')",
              "the list of events")
    before = page.evaluate("newestStep()")
    page.wait(f"newestStep() >= {before} + 20", "the training to go on")
    scene.picture(page, "live", full=True)

    cluster.coordinator.kill()
    page.wait("document.getElementById('connection').textContent.includes('away')",
              "a message that the coordinator is away")
    scene.picture(page, "away")
    start_coordinator()
    page.wait("document.getElementById('connection').textContent === '' && "
              "model.status.state === 'training'", "the coordinator again", 40)
    before = page.evaluate("newestStep()")
    page.wait(f"newestStep() >= {before} + 10 && window.shownOnce", "the training on the same page", 40)


def drop_refused(errors: list[str]) -> list[str]:
    """The messages but those that a browser writes while a server is away."""
    away = re.compile("ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|"
                      "ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_FAILED")
    return [error for error in errors if not away.search(error)]


def live(scene: Scene) -> None:
    """A training from its beginning, with faults."""
    with scene.training("live") as (cluster, url, start_coordinator):
        page = scene.browser.open("live", url)
        page.wait(READY, "a training")
        check_grows(page)
        check_picking(page)
        check_tables(page)
        check_numbers(cluster, page)
        check_pause(cluster, page)
        check_accessibility(page, "a wide page")
        for width, scheme in ((390, "light"), (1280, "dark")):
            other = scene.browser.open(f"{width} {scheme}", url, width, 800, scheme)
            other.wait(f"{READY} && document.querySelectorAll('#figure rect').length === 8",
                       "a training")
            wide = other.evaluate("document.documentElement.scrollWidth")
            expect(wide <= width, f"expected a page as wide as the window, {width}, got {wide}")
            check_accessibility(other, f"{width} pixels, {scheme}")
            scene.picture(other, f"live-{width}-{scheme}", full=True)
            other.close()
        errors = scene.browser.errors()
        expect(not errors, f"on the console: {errors[:5]}")
        check_faults(scene, cluster, page, start_coordinator)
        check_drain(cluster, page)
        scene.picture(page, "drained")
        left = drop_refused(scene.browser.errors())
        expect(not left, f"on the console: {left}")
        page.close()


def check_zoom(scene: Scene, page: Page) -> None:
    """Expects finer lines where the mouse zooms in, with the exact numbers, and the old ones after a
    double click."""
    page.wait("model.charts.updates.width > 1", "a training so long that its lines are down-sampled")
    page.drag("#c-change .chart canvas", 0.3, 0.5)
    inside = ("tableOf('updates').rows.filter((row) => row[0] >= Math.ceil(sharedZoom.range[0]) && "
              "row[1] <= Math.floor(sharedZoom.range[1]))")
    page.wait(f"sharedZoom.range && {inside}.length > 20 && {inside}.every((row, i, all) => "
              "row[0] === row[1] && row[0] === all[0][0] + i)", "a row of its own for each step")
    page.wait("tableOf('updates').rows.every((row, i, all) => !i || row[0] > all[i - 1][1])",
              "rows in their order")
    step, shown = page.evaluate(f"{inside}.map((row) => [row[0], row[2]])[10]")
    exact = page.evaluate(f"loadStep({step})")["updates"][0]["relative_delta"]
    expect(abs(shown - exact) <= 1e-3 * exact,
           f"step {step}: the finer line has {shown}, the step {exact}")
    scene.picture(page, "zoomed")
    page.double_click("#c-change .chart canvas")
    page.wait("!sharedZoom.range && tableOf('updates') === model.charts.updates",
              "the whole training again")


def many(scene: Scene) -> None:
    """A training with 60 tensors, whose worker is a script in Python."""
    port, http = free_ports(2)
    job = scene.folder / "many.textproto"
    layers = "".join(
        f'  tensors {{ name: "block{i // 4}/{"qkvo"[i % 4]}/weights" shape: [8, {8 + i % 5}]\n'
        "    initializer { truncated_normal { stddev: 0.1 } } }\n" for i in range(60))
    job.write_text('name: "sixty tensors"\n'
                   f'model {{\n  architecture: "external"\n{layers}}}\n'
                   "optimizer { learning_rate: 0.03 percent_delta { epsilon: 1e-4 } }\n"
                   "gradients_per_step: 1\nbatch_size: 10\nseed: 1\n"
                   f"max_steps: {MANY_STEPS}\ndata {{ training_examples: 1000 }}\n")
    with contextlib.ExitStack() as stack:
        for command in (
                [scene.binaries.server, f"--listen=127.0.0.1:{port}", f"--job={job}",
                 f"--http=127.0.0.1:{http}"],
                [sys.executable, "-B", ROOT / "tests/page/random_worker.py", f"127.0.0.1:{port}"]):
            log = stack.enter_context((scene.folder / f"many-{len(command)}.log").open("w"))
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        url = f"http://127.0.0.1:{http}/"
        until = time.monotonic() + 30
        while True:
            try:
                page = scene.browser.open("many", url)
                break
            except Violation:
                expect(time.monotonic() < until, f"no page at {url}")
                time.sleep(0.3)
        scene.browser.errors()  # of the tries
        page.wait(READY + " && model.job.tensors.length === 60", "a training of 60 tensors")
        page.wait("document.querySelectorAll('#figure rect').length === 120", "120 bars")
        expect(page.evaluate("changeChart.series.length") == 14, "expected 7 tensors at first")
        page.click("#tensors button:text-is('all')")
        page.wait("changeChart.series.length === 120", "all tensors")
        size = page.evaluate("fetch('/api/state').then((r) => r.text()).then((t) => t.length)")
        expect(size < MAX_BYTES, f"expected a state of less than {MAX_BYTES} bytes, got {size}")
        check_zoom(scene, page)
        check_accessibility(page, "60 tensors")
        scene.picture(page, "many", full=True)
        page.close()


def report(scene: Scene) -> None:
    """The report of a training of pd-local, and its CSV over a page."""
    folder = scene.folder / "report"
    job = scene.folder / "report.textproto"
    job.write_text(job_text(60))
    output = run(scene.binaries.local, "--shards=2", "--workers=2", f"--data={scene.folder / 'data'}",
                 f"--job={job}", f"--report={folder}", "--http=127.0.0.1:0")
    expect(re.search(r"^page http://127\.0\.0\.1:\d+/$", output, re.MULTILINE) is not None,
           f"expected the page's address, got {output[:300]}")
    page = scene.browser.open("report", (folder / "report.html").as_uri())
    page.wait("model.status.state === 'finished' && picked.step === 59 && "
              "charts.filter((c) => c.graph).length >= 5", "the curves of the report")
    rows: list[dict[str, Any]] = list(csv.DictReader((folder / "progress.csv").open()))
    shown = page.evaluate("model.charts.training.rows.map((row) => row[2])")
    told = [float(row["loss"]) for row in rows if row["loss"]]
    expect(len(shown) == len(told) == 60 and
           all(abs(a - b) <= 1e-5 * abs(b) for a, b in zip(shown, told)),
           "expected the losses of progress.csv on the page")
    page.click("#quick button:text-is('15')")
    page.wait("document.getElementById('figure-step').textContent === '15' && "
              "document.querySelectorAll('#figure rect').length === 8", "Figure 1 at step 15")
    expect(page.evaluate("document.getElementById('cluster').hidden"),
           "expected no table of workers in a report")
    page.choose_files("#files", folder / "progress.csv", folder / "statistics.csv")
    page.wait("overlay.name !== '' && lossChart.series.length === 3 && changeChart.series.length === 12",
              "another run under this one")
    check_accessibility(page, "a report")
    scene.picture(page, "report", full=True)
    page.close()


SCENARIOS: dict[str, Callable[[Scene], None]] = {"live": live, "many": many, "report": report}
