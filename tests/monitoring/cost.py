# SPDX-License-Identifier: Apache-2.0
"""What a scrape each second costs a training: the ratio of step times with and without, in turns."""

import csv
import io
import pathlib
import statistics
import time

from deploy.project import Binaries
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.training import Training

STEPS = 100000
WARM_UP_STEPS = 20


def measure(binaries: Binaries, work: pathlib.Path, data: pathlib.Path, turns: int,
            seconds: float) -> tuple[float, float]:
    """Returns the median over `turns` of the ratio of the median step time with a Prometheus that
    scrapes each second to that without, each for `seconds`; and the median step time without."""
    with Training(binaries, work / "cost", data, STEPS, workers=1) as training:
        training.start()
        training.await_step(WARM_UP_STEPS)
        targets = {"servers": training.server_metrics, "workers": training.worker_metrics}
        borders: list[int] = []
        with Prometheus(work / "prometheus-cost", targets) as prometheus:
            for turn in range(2 * turns):
                # Alternately first, so that a drift of the machine's speed cancels out.
                scrapes = turn % 4 in (0, 3)
                prometheus.resume() if scrapes else prometheus.pause()
                borders.append(training.status()["step"])
                time.sleep(seconds)
                borders.append(training.status()["step"])
            prometheus.resume()
        durations = _step_seconds(training)
    medians = [statistics.median(durations[first:last])
               for first, last in zip(borders[::2], borders[1::2])]
    ratios = []
    for turn, (one, other) in enumerate(zip(medians[::2], medians[1::2])):
        ratios.append(one / other if turn % 2 == 0 else other / one)
    without = [median for turn, median in enumerate(medians) if turn % 4 not in (0, 3)]
    return statistics.median(ratios), statistics.median(without)


def _step_seconds(training: Training) -> list[float]:
    """The time of each step."""
    rows = csv.DictReader(io.StringIO(training.pdctl("progress", "--format=csv")))
    ends = [float(row["seconds"]) for row in rows if row["loss"]]
    return [later - earlier for earlier, later in zip([0.0, *ends], ends)]
