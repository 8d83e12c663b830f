#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A character-level Transformer on the King James Bible, trained by SGD, PercentDelta and Adam, and
a picture of how fast each of its layers learns under them.

It trains the same model on the same batches once with each rule, and asks the servers for what
every step did to every layer. --plot=FILE.png draws that (Debian: python3-matplotlib), and the
losses. The text is Debian's: deploy/install-packages bible.
"""

import argparse
import json
import pathlib
import statistics
from typing import Any, Dict, List, Tuple

import torch
from torch.nn import functional

import common
import connection
import data
import models
import percentdelta as pd
import percentdelta.torch

TEST_PART = 50  # the last fiftieth of the text

# Each rule's best of the rates that were tried, with the same schedule (README.md).
MOMENTUM = pd.Momentum(0.9, dampening=0.9)
RULES: Dict[str, Dict[str, Any]] = {
    "SGD": {"optimizer": pd.Optimizer(0.5, pd.Sgd()), "momentum": MOMENTUM},
    "PercentDelta": {"optimizer": pd.Optimizer(0.06, pd.PercentDelta(epsilon=3e-2)),
                     "momentum": MOMENTUM},
    "Adam": {"optimizer": pd.Optimizer(0.01, pd.Adam())},
}


class Windows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Pieces of a text, each with the same piece one character later."""

    def __init__(self, characters: torch.Tensor, length: int, most: int = 1 << 40) -> None:
        self._characters = characters
        self._length = length
        self._count = min(most, (len(characters) - 1) // length)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Tuple[Any, Any]:
        begin, end = index * self._length, (index + 1) * self._length
        return self._characters[begin:end], self._characters[begin + 1:end + 1]


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(output.flatten(0, 1), target.flatten())


def metric(output: torch.Tensor, target: torch.Tensor) -> Dict[str, float]:
    return {"next_character": float((output.argmax(2) == target).float().mean())}


def write(module: torch.nn.Module, alphabet: str, context: int, length: int) -> str:
    """What the model would write after a full stop and a line's end."""
    text = [alphabet.index(character) for character in ".\n" if character in alphabet] or [0]
    device = next(module.parameters()).device
    module.eval()
    with torch.no_grad():
        for _ in range(length):
            output = module(torch.tensor([text[-context:]], device=device))
            text.append(int(torch.multinomial((output[0, -1] / 0.8).softmax(0), 1)))
    return "".join(alphabet[character] for character in text).strip()


def train(arguments: argparse.Namespace, rule: str, alphabet: str, train_set: Windows,
          test_set: Windows) -> Dict[str, Any]:
    """Trains with one rule. Returns the losses and, of each layer, the relative change in each
    step."""
    common.prepare(arguments)  # the same initial weights each time
    module = models.Transformer(len(alphabet), arguments.context, arguments.width, arguments.heads,
                                arguments.layers)

    def make_job(folder: pathlib.Path) -> pd.Job:
        name = f"transformer-{rule.lower()}"
        return percentdelta.torch.job_for(
            module, train_set, test_set, name=name, weights_file=folder / f"{name}.safetensors",
            schedule=pd.Schedule(pd.Cosine(arguments.steps, floor=0.1),
                                 warmup_steps=arguments.steps // 20),
            batch_size=arguments.batch_size, max_steps=arguments.steps, seed=arguments.seed,
            evaluation=pd.Evaluation(max(1, arguments.steps // 4), min(256, len(test_set))),
            **RULES[rule])

    print(f"{rule}:")
    with common.servers(arguments, make_job) as address:
        summary = percentdelta.torch.train(module, loss, train_set, address,
                                           test_dataset=test_set, metric=metric,
                                           device=arguments.device,
                                           **connection.options(arguments))
        with pd.Client(address, **connection.options(arguments)) as client:
            progress, changes = client.progress(), client.statistics()
    layers: Dict[str, List[float]] = {}
    for step in changes:
        for tensor in step.tensors:
            layers.setdefault(tensor.layer, []).append(tensor.relative_delta)
    for point in progress.evaluations:
        print(f"step {point.step:5}: test loss {point.loss:.3f}")
    medians = {layer: statistics.median(values) for layer, values in layers.items()}
    slowest, fastest = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    print(f"median change per step: {medians[slowest]:.2%} ({slowest}) to {medians[fastest]:.2%} "
          f"({fastest}), a factor of {medians[fastest] / max(medians[slowest], 1e-30):.0f}")
    print(f"{summary.step} steps in {summary.seconds:.0f} s; weights {summary.checksum[:16]}")
    if arguments.write:
        torch.manual_seed(arguments.seed)
        print(f"\n{write(module, alphabet, arguments.context, arguments.write)}\n")
    return {"rate": RULES[rule]["optimizer"].learning_rate,
            "loss": [(point.step, point.loss) for point in progress.training],
            "test_loss": [(point.step, point.loss) for point in progress.evaluations],
            "layers": layers}


def main() -> None:
    parser = common.parser(__doc__, steps=600, batch_size=32)
    parser.add_argument("--text", metavar="FILE", help="another text")
    parser.add_argument("--rules", default=",".join(RULES), help=f"default: {','.join(RULES)}; the "
                        "one rule of the job with --address")
    parser.add_argument("--context", type=common.positive, default=64,
                        help="characters; default: 64")
    parser.add_argument("--width", type=common.positive, default=64,
                        help="of the model; default: 64")
    parser.add_argument("--heads", type=common.positive, default=4, help="default: 4")
    parser.add_argument("--layers", type=common.positive, default=4, help="default: 4")
    parser.add_argument("--write", type=int, default=200, metavar="CHARACTERS",
                        help="that the trained model writes; default: 200")
    parser.add_argument("--plot", metavar="FILE", help="PNG or SVG of the layers' rates")
    parser.add_argument("--save", metavar="FILE", help="the numbers of the plot, as JSON")
    arguments = parser.parse_args()
    rules = arguments.rules.split(",")
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        parser.error(f"--rules: expected some of {','.join(RULES)}, got {unknown[0]}")
    if arguments.address and len(rules) > 1:
        parser.error("--address: expected one of --rules, that of the servers' job")
    if arguments.plot:
        import layers_plot  # which needs matplotlib: fails now, not after the training

    text = data.text(arguments.text)
    alphabet = "".join(sorted(set(text)))
    numbers = {character: number for number, character in enumerate(alphabet)}
    characters = torch.tensor([numbers[character] for character in text])
    cut = len(text) - len(text) // TEST_PART
    train_set = Windows(characters[:cut], arguments.context)
    test_set = Windows(characters[cut:], arguments.context, most=1024)
    print(f"{len(text):,} characters, {len(alphabet)} different ones")
    results = {rule: train(arguments, rule, alphabet, train_set, test_set) for rule in rules}
    if arguments.save:
        pathlib.Path(arguments.save).write_text(json.dumps(results), encoding="utf-8")
    if arguments.plot:
        layers_plot.draw(results, arguments.plot)
        print(f"wrote {arguments.plot}")


if __name__ == "__main__":
    main()
