# SPDX-License-Identifier: Apache-2.0
"""Cases whose result can be computed by hand."""

import dataclasses
import functools
import math
import pathlib
import sys
import unittest
from collections.abc import Sequence
from typing import Any

# CMake starts this file by its path; hence imports below (E402).
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))

from tests.benchmark.scaling import costs as measured_costs, formula  # noqa: E402
from tests.benchmark.scaling.events import Clock, FairShare  # noqa: E402
from tests.benchmark.scaling.model import (  # noqa: E402
    BLOCK_ENTRIES, BYTES_PER_ENTRY, Call, Costs, PAUSE_AFTER_FAILURE, Shape, partition)
from tests.benchmark.scaling.simulator import seconds_per_step  # noqa: E402

BLOCK_BYTES = BLOCK_ENTRIES * BYTES_PER_ENTRY


def costs_of(blocks: int = 1, gradient: float = 0.0, **changes: Any) -> Costs:
    """Returns costs of one layer of `blocks` and a gradient of some seconds; nothing else takes time."""
    free = Call(0.0, 0.0)
    nothing = Costs(layers={"layer": [blocks * BLOCK_ENTRIES]}, gather=0.0,
                    marks=(("needs", "layer", 0.0), ("makes", "layer", gradient)), threads=1,
                    lease=free, pull=free, push=free, pull_send=0.0, pull_receive=0.0,
                    pull_pace=0.0, push_send=0.0, push_receive=0.0, push_receive_fresh=0.0,
                    push_pace=0.0, update_task=0.0, phase1=0.0, phase2=0.0, mean=0.0, add=0.0,
                    hop=0.0)
    return dataclasses.replace(nothing, **changes)


class FairShareTest(unittest.TestCase):
    """The ends of jobs."""

    def ends(self, capacity: float, limit: float,
             jobs: Sequence[tuple[float, float, int]]) -> list[float]:
        """Returns the ends of jobs given as (begin, work, shares)."""
        clock = Clock()
        resource = FairShare(clock, capacity, limit)
        ends: dict[int, float] = {}
        for number, (begin, work, shares) in enumerate(jobs):
            def end(job: int = number) -> None:
                ends[job] = clock.now

            clock.at(begin, functools.partial(resource.start, work, shares, end))
        clock.run(lambda: len(ends) == len(jobs))
        return [ends[number] for number in range(len(jobs))]

    def assert_ends(self, expected: Sequence[float], *arguments: Any) -> None:
        for got, want in zip(self.ends(*arguments), expected, strict=True):
            self.assertAlmostEqual(got, want)

    def test_a_thread_uses_one_core(self) -> None:
        self.assert_ends([3.0], 2, 1, [(0, 3, 1)])

    def test_a_flow_uses_the_whole_interface(self) -> None:
        self.assert_ends([3.0], 2, 2, [(0, 6, 1)])

    def test_three_threads_share_two_cores(self) -> None:
        self.assert_ends([1.5, 1.5, 1.5], 2, 1, [(0, 1, 1)] * 3)

    def test_who_comes_later_slows_the_others(self) -> None:
        # Alone for a second, then half each; the first ends at 3, and the second goes on alone.
        self.assert_ends([3.0, 5.0], 1, 1, [(0, 2, 1), (1, 3, 1)])

    def test_a_job_of_two_threads_has_two_shares(self) -> None:
        # Three threads on two cores: 2/3 each until the single one is done at 1.5.
        self.assert_ends([2.5, 1.5], 2, 1, [(0, 4, 2), (0, 1, 1)])


class PartitionTest(unittest.TestCase):
    """As common/job/partition.cc."""

    def test_equal_stretches_in_blocks(self) -> None:
        layout = partition({"a": [3 * BLOCK_ENTRIES], "b": [4, 1]}, 2)
        self.assertEqual(layout, [{"a": 2 * BLOCK_ENTRIES}, {"a": BLOCK_ENTRIES, "b": 5}])

    def test_more_shards_than_blocks(self) -> None:
        self.assertEqual(partition({"a": [5]}, 3), [{"a": 5}, {}, {}])

    def test_the_fullest_shard_has_a_block_more_than_the_mean_at_most(self) -> None:
        layers = measured_costs.read()["layers"]
        total = sum(map(sum, layers.values()))
        self.assertEqual(total, 3274634)
        for shards in (1, 2, 3, 16, 64, 200):
            loads = [sum(slices.values()) for slices in partition(layers, shards)]
            self.assertEqual(sum(loads), total)
            self.assertLessEqual(max(loads), total / shards + BLOCK_ENTRIES)


class StepTest(unittest.TestCase):
    """The seconds of a step."""

    def assert_step(self, seconds: float, costs: Costs, shape: Shape) -> None:
        self.assertAlmostEqual(seconds_per_step(costs, shape)[0], seconds)

    def test_the_gradient_alone(self) -> None:
        self.assert_step(0.5, costs_of(gradient=0.5), Shape(1, 1, 1))
        self.assert_step(0.5, costs_of(gradient=0.5), Shape(5, 3, 5))

    def test_slots_one_after_the_other(self) -> None:
        self.assert_step(2.0, costs_of(gradient=0.5), Shape(1, 1, 4))
        self.assert_step(1.0, costs_of(gradient=0.5), Shape(3, 1, 4))

    def test_workers_share_one_machine(self) -> None:
        # Four threads on two cores.
        self.assert_step(1.0, costs_of(gradient=0.5),
                         Shape(4, 1, 4, server_cores=2, one_host=True))

    def test_bound_by_the_servers_network(self) -> None:
        # Two shards have a block each; four workers push it, and then they pull it.
        shape = Shape(4, 2, 4, bandwidth=10 * BLOCK_BYTES)
        self.assert_step(0.4 + 0.4, costs_of(blocks=2), shape)

    def test_bound_by_the_workers_network(self) -> None:
        shape = Shape(1, 4, 1, bandwidth=10 * BLOCK_BYTES)
        self.assert_step(0.4 + 0.4, costs_of(blocks=4), shape)

    def test_no_network_on_one_machine(self) -> None:
        shape = Shape(4, 2, 4, bandwidth=10 * BLOCK_BYTES, one_host=True)
        self.assert_step(0.0, costs_of(blocks=2), shape)

    def test_bound_by_the_servers_cores(self) -> None:
        # Four streams of three seconds of work each on two cores; pulling is free.
        costs = costs_of(push_receive=3 / BLOCK_BYTES)
        self.assert_step(6.0, costs, Shape(4, 1, 4, server_cores=2))

    def test_both_sides_work_at_the_same_time(self) -> None:
        costs = costs_of(push_send=2 / BLOCK_BYTES, push_receive=3 / BLOCK_BYTES)
        self.assert_step(3.0, costs, Shape(1, 1, 1, one_host=True))
        self.assert_step(5.0, costs, Shape(1, 1, 1, one_host=True, server_cores=1))

    def test_a_stream_has_its_pace(self) -> None:
        costs = costs_of(blocks=2, pull_pace=1 / BLOCK_BYTES)
        self.assert_step(2.0, costs, Shape(1, 1, 1))
        self.assert_step(1.0, costs, Shape(1, 2, 1))

    def test_what_is_made_early_travels_during_the_gradient(self) -> None:
        # "late" is a single number, and waits for a chunk of "early" at most: 0.04 s.
        marks = (("needs", "late", 0.0), ("needs", "early", 0.5), ("makes", "early", 0.6),
                 ("makes", "late", 1.0))
        costs = costs_of(layers={"late": [1], "early": [160 * BLOCK_ENTRIES]}, marks=marks)
        fast = Shape(1, 1, 1, bandwidth=400 * BLOCK_BYTES)  # early: 0.1 + 0.4 + 0.4 s
        self.assertAlmostEqual(seconds_per_step(costs, fast)[0], 1.04, places=3)
        slow = Shape(1, 1, 1, bandwidth=200 * BLOCK_BYTES)  # 0.1 + 0.8 + 0.8 s
        self.assertAlmostEqual(seconds_per_step(costs, slow)[0], 1.7, places=3)

    def test_weights_are_pulled_once_a_step(self) -> None:
        shape = Shape(1, 1, 4, bandwidth=1e9)
        _, cluster = seconds_per_step(costs_of(), shape, steps=5)
        # Steps 0 to 5 have been pulled, and 6 is awaited.
        self.assertAlmostEqual(cluster.shards[0].host.out.work_done, 6 * BLOCK_BYTES)
        self.assertAlmostEqual(cluster.shards[0].host.into.work_done, 4 * 6 * BLOCK_BYTES)

    def test_the_calls_of_a_lease(self) -> None:
        # Report, and answer: the slower side of each.
        self.assert_step(3.0 + 3.0, costs_of(lease=Call(2.0, 6.0)), Shape(1, 1, 1))

    def test_hops(self) -> None:
        # Push, acknowledgement, report, answer.
        costs = costs_of(hop=1.0)
        self.assert_step(4.0, costs, Shape(1, 1, 1))
        self.assert_step(12.0, costs, Shape(1, 1, 1, latency=2.0))
        self.assert_step(4.0, costs, Shape(1, 1, 1, latency=2.0, one_host=True))

    def test_norms_of_a_split_layer_travel(self) -> None:
        # Push, update, pull; and to the home and back between the phases.
        costs = costs_of(blocks=2, hop=1.0, phase2=10 / BLOCK_ENTRIES)
        self.assert_step(1 + 10 + 1, costs, Shape(1, 1, 1))
        self.assert_step(1 + 2 + 10 + 1, costs, Shape(1, 2, 1))

    def test_the_update(self) -> None:
        costs = costs_of(phase1=1 / BLOCK_ENTRIES, phase2=2 / BLOCK_ENTRIES,
                         mean=4 / BLOCK_ENTRIES, add=8 / BLOCK_ENTRIES, update_task=0.5)
        self.assert_step(0.5 + 1 + 2, costs, Shape(1, 1, 1))
        self.assert_step(0.5 + 1 + 4 + 3 * 8 + 2, costs, Shape(1, 1, 3))

    def test_a_block_is_updated_by_one_thread(self) -> None:
        costs = costs_of(blocks=4, phase1=1 / BLOCK_ENTRIES)
        self.assert_step(1.0, costs, Shape(1, 1, 1, server_cores=16))
        self.assert_step(2.0, costs, Shape(1, 1, 1, server_cores=2))

    def test_a_push_too_many_is_computed_again(self) -> None:
        shape = Shape(2, 1, 2, pushes_at_once=1)
        self.assert_step(1 + PAUSE_AFTER_FAILURE + 1, costs_of(gradient=1.0), shape)

    def test_the_same_every_time(self) -> None:
        costs = measured_costs.costs_of(measured_costs.read(), 2)
        shape = Shape(5, 3, 7, bandwidth=1e9, latency=1e-5)
        self.assertEqual(seconds_per_step(costs, shape)[0], seconds_per_step(costs, shape)[0])


class FormulaTest(unittest.TestCase):
    """The closed form against the simulator, with the measured costs."""

    def test_is_near(self) -> None:
        costs = measured_costs.costs_of(measured_costs.read(), 2)
        for workers, shards, gbit in ((1, 1, 10), (4, 1, 10), (16, 4, 10), (64, 8, 10),
                                      (16, 2, 100), (128, 4, 100)):
            shape = Shape(workers, shards, workers, server_cores=16, latency=2e-5,
                          bandwidth=gbit * 1e9 / 8)
            with self.subTest(shape):
                simulated, _ = seconds_per_step(costs, shape)
                near = max(formula.chains(costs, shape).values()) / simulated
                self.assertLess(abs(math.log(near)), 0.2)


if __name__ == "__main__":
    unittest.main()
