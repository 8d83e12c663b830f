# SPDX-License-Identifier: Apache-2.0
"""The parts of deploy/reproduce: settings, jobs, curves, the display, resumed trainings."""

import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest


from deploy.project import Failure, ROOT
from deploy.reproduction import curves, figure1, figure2, jobs, runs, settings, sweep

PD_LOCAL = pathlib.Path(os.environ.get("PD_LOCAL", ""))  # of the build; without it nothing is trained


def made_up(setting: settings.Setting, accuracies: list[float]) -> curves.Curve:
    """Returns a curve with a point every 5 steps."""
    steps = [5 * i for i in range(len(accuracies))]
    return curves.Curve(setting, 1, steps, accuracies, accuracies, accuracies, accuracies)


class SettingsTest(unittest.TestCase):
    """Every setting makes a valid job."""

    def test_labels_tell_settings_apart(self) -> None:
        for name, data_set in settings.DATA_SETS.items():
            for chosen in (data_set.quick, data_set.full, settings.SWEEP):
                names = [(s.algorithm, s.label) for s in chosen]
                self.assertEqual(len(set(names)), len(names), name)

    def test_every_algorithm_is_there(self) -> None:
        for name, data_set in settings.DATA_SETS.items():
            for chosen in (data_set.quick, data_set.full):
                self.assertEqual({s.algorithm for s in chosen}, set(settings.ALGORITHMS), name)

    def test_learning_rates_reach_a_decade_either_side(self) -> None:
        rates: dict[str, list[float]] = {}
        for setting in settings.DATA_SETS["mnist"].full:
            rate = float(setting.update.split("learning_rate: ")[1].split()[0])
            rates.setdefault(setting.algorithm, []).append(rate)
        for algorithm in settings.ALGORITHMS[1:]:
            self.assertGreaterEqual(max(rates[algorithm]) / min(rates[algorithm]), 99, algorithm)

    def test_the_default_job_is_in_the_sweep(self) -> None:
        maker = jobs.Jobs()
        default = (ROOT / "deploy/jobs/mnist.textproto").read_text(encoding="utf-8")
        rate = default.split("\n  learning_rate: ")[1].split()[0]
        self.assertIn(f"eta {rate},", figure1_setting().label)
        self.assertIn(figure1_setting(), settings.SWEEP)
        text = maker.text("mnist", figure1_setting(), 7, 30, 10)
        for line in ("seed: 7", "max_steps: 30", "every_steps: 10", "learning_rate: " + rate,
                     "dampening: 0.9"):
            self.assertIn(line, text)
        kept = maker.with_checkpoints(text, "/somewhere", 10)
        self.assertIn('directory: "/somewhere"', kept)


def figure1_setting() -> settings.Setting:
    """Returns PercentDelta's setting of Figure 1: the default job's."""
    return settings.FIGURE1[0]


class CurvesTest(unittest.TestCase):
    """The best, and smoothing."""

    def setUp(self) -> None:
        self.slow = made_up(settings.lars(0.01, 1e-3), [0.1, 0.5, 0.9])
        self.fast = made_up(settings.lars(0.03, 1e-3), [0.1, 0.8, 0.9])
        self.adam = made_up(settings.plain(settings.ADAM, 1e-3, "adam {}"), [0.1, 0.2, 0.3])

    def test_the_best_of_each_algorithm(self) -> None:
        self.assertEqual(curves.best([self.slow, None, self.adam, self.fast]), [self.adam, self.fast])

    def test_the_best_of_all(self) -> None:
        self.assertEqual(curves.top([self.adam, self.slow, self.fast], 2), [self.fast, self.slow])
        self.assertEqual(curves.top([self.adam], 2), [self.adam])

    def test_smoothing_keeps_ends_and_lines(self) -> None:
        values = [i / 100 for i in range(60)]
        smoothed = made_up(self.slow.setting, values).smoothed()
        for value, smooth in zip(values, smoothed):
            self.assertAlmostEqual(value, smooth)
        early = made_up(self.slow.setting, [0, 0.9] + 9 * [0.96]).smoothed()
        self.assertGreater(early[2], 0.9)  # the rise of a short curve is not smoothed over half of it
        noisy = made_up(self.slow.setting, [i % 2 for i in range(61)]).smoothed()
        self.assertLess(max(abs(value - 0.5) for value in noisy[2:-2]), 0.11)

    def test_table(self) -> None:
        lines = curves.table([self.fast], 10)
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], "algorithm +setting +seeds +step 10")
        self.assertRegex(lines[1], r"LARS +eta 0.03, m 0.001 +1 +0.9000$")

    def test_ratio(self) -> None:
        self.assertEqual(figure1.ratio({"conv1": 0.5, "fc1": 0.125}), 4)


class DisplayTest(unittest.TestCase):
    """The display of progress, with an injected clock."""

    def setUp(self) -> None:
        self.out = io.StringIO()
        self.time = 0.0
        self.display = sweep.Progress(200, 2, self.out, lambda: self.time)

    def test_the_pace_gives_the_time_left(self) -> None:
        self.display.begin("first")
        for step in (0, 50, 100):
            self.display.step(step, None)
            self.time += 20
        self.display.end(100, "done")
        # 100 steps in 40 s; 100 are left.
        self.assertEqual(self.out.getvalue().splitlines()[-1],
                         "1/2  first  done  | 50 % of all, 40 s left")

    def test_steps_before_an_interruption_do_not_count_for_the_pace(self) -> None:
        self.display.begin("first")
        self.display.step(90, 12.5)
        self.time += 40
        self.display.step(100, 13.5)
        self.display.end(100, "done")
        self.assertIn("| 50 % of all, 7 min left", self.out.getvalue())

    def test_off_a_terminal_lines_are_few(self) -> None:
        self.display.begin("first")
        for step in range(100):
            self.time += 1
            self.display.step(step, None)
        self.assertLessEqual(len(self.out.getvalue().splitlines()), 4)


@unittest.skipUnless(os.environ.get("PD_LOCAL"), "no PD_LOCAL")
class TrainingTest(unittest.TestCase):
    """Real trainings of the small model."""

    folder: pathlib.Path
    maker: jobs.Jobs

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        subprocess.run([sys.executable, "-B", ROOT / "deploy/make-data", "ratings", cls.folder / "data"],
                       check=True, stdout=subprocess.DEVNULL)
        cls.maker = jobs.Jobs()

    def runs(self, name: str) -> runs.Runs:
        return runs.Runs(self.folder / name, settings.DATA_SETS["ratings"], self.folder / "data",
                         self.maker, 1, PD_LOCAL)

    def test_goes_on_where_it_was_and_ends_the_same(self) -> None:
        setting = settings.DATA_SETS["ratings"].quick[0]
        whole = self.runs("whole").run(setting, 1, 80, 10)
        self.assertFalse(whole.done())
        self.runs("whole").train(whole, lambda step, accuracy: None)
        self.assertTrue(whole.done())
        self.assertEqual([point.step for point in whole.points()], list(range(0, 81, 10)))

        short = self.runs("parts").run(setting, 1, 50, 10)
        self.runs("parts").train(short, lambda step, accuracy: None)
        longer = self.runs("parts").run(setting, 1, 80, 10)
        self.assertEqual(longer.folder, short.folder)
        self.assertTrue(short.done())
        self.assertFalse(longer.done())
        steps: list[int] = []
        self.runs("parts").train(longer, lambda step, accuracy: steps.append(step))
        self.assertGreaterEqual(min(steps), 50)
        self.assertEqual(longer.points(), whole.points())
        self.assertTrue(short.done())  # a longer training is long enough

        odd = self.runs("odd").run(setting, 1, 15, 10)
        self.runs("odd").train(odd, lambda step, accuracy: None)
        self.assertTrue(odd.done())
        self.assertEqual([point.step for point in odd.points()], [0, 10, 15])

        found, winners, missing = figure2.gather([longer])
        self.assertEqual((len(found), winners, missing), (1, found, []))
        figure2.write_csv(self.folder / "figure2.csv", found, winners)
        self.assertEqual(len((self.folder / "figure2.csv").read_text().splitlines()), 10)

    def test_what_diverges_is_a_result_and_what_fails_is_not(self) -> None:
        diverging = settings.plain(settings.SGD, 1e6, "sgd {}")
        run = self.runs("diverging").run(diverging, 1, 50, 10)
        self.runs("diverging").train(run, lambda step, accuracy: None)
        self.assertTrue(run.done())
        self.assertIn("not finite", run.failure() or "")
        self.assertEqual(figure2.gather([run])[2], [(diverging, "diverged with seed 1")])
        broken = runs.Runs(self.folder / "broken", settings.DATA_SETS["ratings"],
                           self.folder / "nothing", self.maker, 1, PD_LOCAL)
        with self.assertRaisesRegex(Failure, "nothing"):
            broken.train(broken.run(settings.DATA_SETS["ratings"].quick[0], 1, 20, 10),
                         lambda step, accuracy: None)

    def test_a_damaged_report_is_named(self) -> None:
        run = self.runs("damaged").run(settings.DATA_SETS["ratings"].quick[0], 1, 20, 10)
        self.assertEqual((run.points(), run.changes()), ([], []))
        report = run.folder / "report"
        report.mkdir(parents=True)
        for content in ("", "step,loss\n1,2\n", "step,test_loss,test_accuracy\n0,1,x\n",
                        "step,test_loss,test_accuracy\n0\n", 'step,test_loss,test_accuracy\n"0'):
            (report / "progress.csv").write_text(content, encoding="utf-8")
            if not content:
                self.assertFalse(run.done())
                continue
            with self.assertRaisesRegex(Failure, "progress.csv is damaged .*; remove .* to do"):
                run.points()
        (report / "progress.csv").write_bytes(b"step,test_loss,test_accuracy\n\xff\xfe,1,1\n")
        with self.assertRaisesRegex(Failure, "progress.csv is damaged"):
            run.done()


class CommandLineTest(unittest.TestCase):
    """Command lines that make no sense are refused at once."""

    def test_refusals(self) -> None:
        cases: tuple[tuple[list[str], str], ...] = (
            (["figure1", "--dataset=ratings"], "convolutional network"),
            (["figure3"], "invalid choice"),
            (["figure2", "--steps=0"], "--steps: expected at least 1, got 0"),
            ([], "required"))
        for arguments, message in cases:
            result = subprocess.run([str(ROOT / "deploy/reproduce"), *arguments], check=False,
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
