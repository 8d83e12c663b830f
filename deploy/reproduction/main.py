# SPDX-License-Identifier: Apache-2.0
"""Reproduces the paper's experiments on a cluster in one process.

  figure1  how much every layer changes with PercentDelta and with SGD, at steps 0, 15, 30, 45
  figure2  test accuracy over steps: PercentDelta, AdaGrad, Adam, LARS, SGD, and the best of each
  sweep    PercentDelta around its default job: eta, eps, momentum, dampening, m
  all      figure1 and figure2

Installs missing packages, fetches missing data and builds. Trainings go to DIR/<data set>/runs;
one that was interrupted is resumed, one that is done is not repeated. Prints tables; figures (SVG, PNG),
their data (CSV) and a page with everything (index.html) go to DIR/<data set>/<budget>. A budget:

  quick  200 steps, test accuracy at every 20th; three seeds of the best settings. Less than
         twenty minutes on two cores
  full   the paper's 5000 steps, test accuracy at every 5th, learning rates over a decade either side
         of the best: twenty minutes a training, half a day in all
"""

import argparse
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from deploy.project import Binaries, Failure, RELEASE, ROOT
from deploy.reproduction import (
    curves, figure1, figure2, jobs, page, runs as trainings, settings, sweep)


def command_line() -> argparse.Namespace:
    """Returns the flags. Exits with 2 if they make no sense."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     prog="deploy/reproduce")
    parser.add_argument("what", choices=("figure1", "figure2", "sweep", "all"))
    parser.add_argument("--budget", choices=tuple(settings.BUDGETS), default="quick")
    parser.add_argument("--dataset", choices=tuple(settings.DATA_SETS), default="mnist",
                        help="default: %(default)s; figure1 and sweep need images")
    parser.add_argument("--steps", type=int, help="of each training; default: the budget's")
    parser.add_argument("--every", type=int,
                        help="steps between evaluations of the test set; default: the budget's")
    parser.add_argument("--seeds", type=int, help="of the best settings; default: the budget's")
    parser.add_argument("--only", metavar="TEXT", action="append", default=[],
                        help="figure2 and sweep: train only settings that contain TEXT, such as Adam or "
                        "'PercentDelta, eta 0.06'; may be given again for more of them")
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    parser.add_argument("--output", metavar="DIR", type=pathlib.Path, default=ROOT / "reproduction",
                        help="default: reproduction in the project")
    flags = parser.parse_args()
    for name in ("steps", "seeds", "every"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: expected at least 1, got {value}")
    if flags.threads < 0:
        parser.error(f"--threads: expected at least 0, got {flags.threads}")
    if flags.dataset in ("ratings", "documents") and flags.what != "figure2":
        parser.error(f"{flags.what} is of the convolutional network: expected --dataset=mnist or "
                     f"fashion-mnist, got {flags.dataset}")
    return flags


def prepare(data_set: settings.DataSet, data: pathlib.Path) -> None:
    """Installs packages, fetches the data, builds."""
    script = ROOT / "deploy"
    for command in (["install-packages", "build", "test", "plot"], [*data_set.fetch, str(data)],
                    ["build", "release", "pd-local"]):
        if subprocess.run([script / command[0], *command[1:]], check=False).returncode != 0:
            raise Failure(f"deploy/{command[0]} failed")


class Reproduction:
    """The reproduction that the flags ask for, with one data set."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self._flags = flags
        budget = settings.BUDGETS[flags.budget]
        self._budget = budget._replace(steps=flags.steps or budget.steps,
                                       seeds=flags.seeds or budget.seeds,
                                       every=flags.every or budget.every)
        self._data_set = settings.DATA_SETS[flags.dataset]
        data = ROOT / "data" / flags.dataset
        prepare(self._data_set, data)
        place = flags.output.resolve() / flags.dataset
        self._folder = place / flags.budget
        self._folder.mkdir(parents=True, exist_ok=True)
        self._runs = trainings.Runs(place / "runs", self._data_set, data, jobs.Jobs(), flags.threads,
                                    Binaries(RELEASE).local)
        self._figure1: list[list[trainings.Run]] = []
        self._figure2: list[trainings.Run] = []
        self._sweep: list[trainings.Run] = []

    def plan(self) -> sweep.Progress:
        """Plans all trainings that are known in advance; returns the display of their progress."""
        what, budget = self._flags.what, self._budget
        more = 0
        if what in ("figure1", "all"):
            self._figure1 = figure1.plan(self._runs, settings.FIGURE1, max(3, budget.seeds))
        if what in ("figure2", "all"):
            chosen = self.chosen(getattr(self._data_set, self._flags.budget))
            self._figure2 = figure2.plan(self._runs, budget, chosen)
            more = (budget.seeds - 1) * len({s.algorithm for s in chosen})
        if what == "sweep":
            self._sweep = figure2.plan(self._runs, budget, self.chosen(settings.SWEEP))
            more = (budget.seeds - 1) * min(settings.SWEEP_TOP, len(self._sweep))
        known = [*(run for pair in self._figure1 for run in pair), *self._figure2, *self._sweep]
        total = sum(run.steps for run in known) + more * budget.steps
        return sweep.Progress(total, len(known) + more)

    def chosen(self, all_settings: Sequence[settings.Setting]) -> tuple[settings.Setting, ...]:
        """Returns the settings that --only selects; all without it."""
        only = self._flags.only
        found = tuple(s for s in all_settings
                      if not only or any(text in settings.name(s) for text in only))
        for text in only:
            if not any(text in settings.name(s) for s in found):
                raise Failure(f"--only={text}: no such setting; there are:\n  " +
                              "\n  ".join(settings.name(s) for s in all_settings))
        return found

    def do(self) -> None:
        """Trains, prints and draws."""
        progress = self.plan()
        sections: list[page.Section] = []
        if self._figure1:
            sweep.train(self._runs, [run for pair in self._figure1 for run in pair], progress)
            sections.append(self.show_figure1())
        if self._figure2:
            sweep.train(self._runs, self._figure2, progress)
            more = figure2.more_seeds(self._runs, self._budget,
                                      curves.best(curves.of_runs(self._figure2)))
            sweep.train(self._runs, more, progress)
            sections.append(self.show_figure2(self._figure2 + more))
        if self._sweep:
            sweep.train(self._runs, self._sweep, progress)
            more = figure2.more_seeds(self._runs, self._budget,
                                      curves.top(curves.of_runs(self._sweep), settings.SWEEP_TOP))
            sweep.train(self._runs, more, progress)
            sections.append(self.show_sweep(self._sweep + more))
        intro = (f"{self._flags.dataset}, budget {self._flags.budget}: "
                 f"deploy/reproduce {' '.join(sys.argv[1:])}")
        page.write(self._folder / "index.html", "PercentDelta, reproduced", intro, sections)
        print(f"\n{self._folder}/index.html")

    def show_figure1(self) -> page.Section:
        """Makes table, CSV and figure."""
        target = self._folder / "figure1"
        figure1.write_csv(target.with_suffix(".csv"), self._figure1)
        figure1.draw(target, self._figure1[0])
        return self.say("Figure 1", target, figure1.table(self._figure1))

    def show_figure2(self, every_run: list[trainings.Run]) -> page.Section:
        """Makes table, CSV and figure, and lists what is missing."""
        target = self._folder / "figure2"
        found, winners, missing = figure2.gather(every_run)
        if not found:
            raise Failure("every training diverged; there is nothing to draw")
        figure2.write_csv(target.with_suffix(".csv"), found, winners)
        images = self._data_set.job == "mnist"
        figure2.draw(target, f"{self._flags.dataset}: test accuracy over steps (red: the best of a row)",
                     found, winners, 0.5 if images else 0)
        lines = ["the best of each algorithm:", *curves.table(winners, self._budget.steps), "",
                 "all:", *curves.table(found, self._budget.steps)]
        lines += [f"{settings.name(setting)}: {why}" for setting, why in missing]
        tried = {run.setting for run in every_run}
        for algorithm in settings.ALGORITHMS:
            left = [s.label for s in getattr(self._data_set, self._flags.budget)
                    if s.algorithm == algorithm and s not in tried]
            lines += [f"{algorithm}, not run: {'; '.join(left)}"] if left else []
        return self.say("Figure 2", target, lines)

    def show_sweep(self, every_run: list[trainings.Run]) -> page.Section:
        """Makes table and CSV, the best first: by the first seed, which all have."""
        target = self._folder / "sweep"
        found, winners, missing = figure2.gather(every_run)
        order = [c.setting for c in curves.top(curves.of_runs(self._sweep), len(self._sweep))]
        found.sort(key=lambda c: order.index(c.setting))
        figure2.write_csv(target.with_suffix(".csv"), found, winners)
        lines = curves.table(found, self._budget.steps)
        lines += [f"{settings.name(setting)}: {why}" for setting, why in missing]
        return self.say("PercentDelta's settings, the best first", target, lines)

    @staticmethod
    def say(heading: str, target: pathlib.Path, lines: list[str]) -> page.Section:
        """Prints a section, and returns it for the page."""
        print(f"\n{heading}\n\n" + "\n".join(lines), flush=True)
        return heading, target.with_suffix(".svg"), lines


def main() -> int:
    """Returns the exit code: 0, 1 for a failure, 130 for an interrupt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Reproduction(command_line()).do()
    except Failure as failure:
        print(f"reproduce: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        # An error of writing, as on a full disk, names no file.
        print(f"reproduce: cannot use {error.filename or 'the folder for the results'}: "
              f"{error.strerror}; --output=DIR chooses another", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nreproduce: interrupted; the same command resumes from here", file=sys.stderr)
        return 130
    return 0
