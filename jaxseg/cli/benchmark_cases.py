"""What `jaxseg benchmark` can measure: the words and the options of each case."""

from typing import NamedTuple


class Option(NamedTuple):
    """A whole number."""

    default: int
    least: int
    meaning: str


class Case(NamedTuple):
    """One sub-command."""

    line: str  # about it, in the list of all
    text: str
    options: dict[str, Option]
    short: tuple[str, ...]  # what `all` adds to the command line


def _repeats(count: int) -> Option:
    return Option(count, 1, "samples a program")


_SOME = "deeplab-mobilenetv2:segmenter,flownet2-s-tf:flow,paper:policy"
INFERENCE = """\
Time every network, batch 1 at its real size with fresh weights, against

plain: the same network with each operation in its obvious form (lax convolutions);
torch: where torch is installed, eager, in inference mode, images in memory as torch
  has them by default (NCHW);
torch_cl: the same with images in channels_last (NHWC);
onnx: where onnx and onnxruntime are installed, the network as a model of ONNX, images
  in ONNX's own order, optimised as onnxruntime does by default.

jaxseg asks for none of them. They run on the GPU or on one or all cores, whichever is
faster, with the same weights and input and with batch norm folded into the weights.
--threads 1 holds everything to one core, where ratios of processor time are least
disturbed: those are what to compare. All programs must give jaxseg's result before they
are timed; columns of what is not there are empty, with the reason below the line. Freed
memory stays in the process, for all of them, as in `jaxseg segment`.

Takes about twenty minutes on two cores; --networks and --size make it shorter. The file
of --out is written after every network.
"""
ROLLOUT = """\
Time rollouts that share the work of pairs (last key, frame) between trials against

the plain rollout under vmap, where every trial runs F on every frame to the end: a
  policy that has learned which frames matter ("late"), one whose trials go their own
  ways ("late, undecided"), and one at its start, which soon breaks the budget;
episodes and policies one by one, instead of all at once.

F is FlowNet2-s and the policy the paper's, with drawn weights; frames are drawn too,
and N's results are there already. No action is more likely than 0.994. How much is
shared depends on how alike the trials are: the line below a case says how many
decisions there were, and how many distinct pairs. Decisions must be equal, rewards to
1e-4. Takes about ten minutes on two cores.
"""
TRAIN = """\
Time the policy's gradient at the paper's size (deviations of 9 x 9 x 384): from every
decision, computed twice to save memory as in the plain training, and from the distinct
pairs among them. Both read deviations from the same table, and must agree.
"""
STREAM = """\
Time dynamic segmentation of a stream, batch 1, from host image to label map, against N
on every frame. One frame in 10 and in 30 is key, by rule and with the policy, which
then reads every frame but leaves the decision to the interval. `bound` is the ratio if
nothing cost but N on key frames and F, warp and upsampling on all; `of_bound` is the
part of it that is reached. N is DeepLabV3+ on ResNet-50 unless --network says
otherwise; F is FlowNet2-s. Weights and frames are drawn. Takes about five minutes on
two cores.
"""
MEMORY = """\
Say how much temporary memory a rollout takes that shares pairs, at K = 4, 32 and 128
trials and at T frames and twice as many, beside that of the plain rollout under vmap.
Programs are compiled and not run. Networks run on batches of 4 pairs, the size that
bounds what a rollout holds of them.
"""
OPTIMUM = """\
Time the exact offline optimum of a video: dynamic programming over a drawn table of the
scores of all pairs, for a number of keys and for as many keys as there are frames.
"""
DEVICES = """\
Spread the episodes of a mini-batch over 1, 2, 4 and 8 devices, as many as the machine
has. Gradients must be equal to rounding; the line below says how many arrays the
devices average, and how many of these in loops. Rollouts read deviations of the paper's
size from tables, so that the policy alone is timed. Devices of a CPU are simulated and
share its cores, so that their time says nothing; with
XLA_FLAGS=--xla_force_host_platform_device_count=4 in the environment there are four.
"""
TARGETS = """\
Measure what one GPU should reach at the paper's sizes, each figure beside its target
and its share of the device's peak: F's encoder by batch, a mini-batch of late episodes,
a whole update, N, a stream, a step of the rollout's loop, depthwise convolutions,
several policies at once, and the plain rollout. Figures that are multiples of what was
measured are called extrapolated. Parts begin until --minutes are over; what is left out
is said. Targets are estimates for one NVIDIA H200, and no figure of a GPU is known yet.

  jaxseg benchmark targets --json targets.jsonl

On a CPU it takes hours; small sizes show that it works:

  jaxseg benchmark targets --size 65 --frames 12 --trials 4 --episodes 2 --policies 2 \\
      --updates 2 --batch 4 --images 1 --repeats 1
"""
ALL = """\
Run every other case but `targets` once, three networks alone and rollouts at small
sizes: about ten minutes on two cores, most of them compilation. The cases' own commands
have the sizes of the figures in the documentation.
"""

CASES = {
    "inference": Case(
        "networks: plain forms, torch, onnxruntime",
        INFERENCE,
        {
            "repeats": _repeats(5),
            "size": Option(0, 0, "side of the input; 0 is each network's own"),
            "threads": Option(0, 0, "cores to hold everything to; 0 is all there are"),
        },
        ("--repeats", "2", "--networks", _SOME),
    ),
    "rollout": Case(
        "rollouts: plain, one by one, policies one by one",
        ROLLOUT,
        {
            "repeats": _repeats(3),
            "frames": Option(120, 4, "of an episode; half of it in the case folded"),
            "trials": Option(32, 1, "of an episode"),
            "size": Option(129, 32, "pixels of a side; half of it in the case folded"),
            "episodes": Option(4, 1, "of the case folded"),
            "policies": Option(8, 1, "of the cases population"),
        },
        ("--repeats", "1", "--size", "65", "--frames", "40", "--episodes", "2"),
    ),
    "train": Case(
        "the policy's gradient: on decisions, on distinct pairs",
        TRAIN,
        {
            "repeats": _repeats(3),
            "frames": Option(60, 4, "of an episode"),
            "trials": Option(32, 1, "of an episode"),
        },
        ("--repeats", "1", "--frames", "40"),
    ),
    "stream": Case(
        "dynamic segmentation of a stream: N on every frame",
        STREAM,
        {
            "repeats": _repeats(3),
            "size": Option(513, 32, "pixels of a side"),
        },
        ("--repeats", "1", "--size", "129"),
    ),
    "memory": Case(
        "temporary memory of rollouts, by trials and frames",
        MEMORY,
        {
            "size": Option(129, 32, "pixels of a side"),
            "frames": Option(60, 4, "of an episode"),
            "kept": Option(512, 0, "pairs whose deviations are kept at most"),
        },
        ("--size", "65", "--frames", "20"),
    ),
    "optimum": Case(
        "the exact offline optimum of a video",
        OPTIMUM,
        {
            "repeats": _repeats(5),
            "frames": Option(270, 2, "of the video"),
            "keys": Option(36, 1, "keys at most"),
        },
        ("--repeats", "3"),
    ),
    "devices": Case(
        "a mini-batch over several devices",
        DEVICES,
        {
            "repeats": _repeats(3),
            "frames": Option(60, 4, "of an episode"),
            "trials": Option(32, 1, "of an episode"),
            "episodes": Option(8, 1, "of the mini-batch"),
        },
        ("--repeats", "1", "--frames", "20", "--trials", "8"),
    ),
    "targets": Case(
        "what a GPU should reach at the paper's sizes",
        TARGETS,
        {
            "repeats": _repeats(20),
            "size": Option(513, 32, "pixels of a side"),
            "frames": Option(270, 4, "of an episode"),
            "trials": Option(32, 1, "of an episode"),
            "episodes": Option(8, 1, "of a mini-batch"),
            "policies": Option(8, 1, "at once"),
            "updates": Option(10, 1, "from which a training is extrapolated"),
            "batch": Option(256, 1, "pairs at once, at most"),
            "images": Option(8, 1, "through N at once"),
            "minutes": Option(9, 1, "after which no part begins"),
        },
        (),
    ),
}
