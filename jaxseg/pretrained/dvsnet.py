"""Names of DVSNet's checkpoint (XUSean0118/DVSNet), which has three networks in one."""

from jaxseg.pretrained import deeplab, flownet
from jaxseg.pretrained.rules import Rule, Skip, Table

_SEGMENTER = (
    Rule("conv1/weights", "segmenter/params/conv1/kernel", ("bgr",)),
    Rule(r"((?:res|fc)\w+)/weights", r"segmenter/params/\1/kernel"),
    Rule(r"(fc\w+)/biases", r"segmenter/params/\1/bias"),
    *(
        Rule(rf"((?:bn|fc)\w+)/{theirs}", rf"segmenter/{collection}/\1/{ours}")
        for theirs, (collection, ours) in deeplab.NORM.items()
    ),
)
_DECISION = tuple(
    Rule(f"decision/{theirs}/{leaf}", f"decision/params/{ours}/{name}")
    for leaf, name in (("weights", "kernel"), ("biases", "bias"))
    for theirs, ours in (
        ("Conv", "Conv"),
        ("fully_connected", "FC0"),
        (r"fully_connected_(\d)", r"FC\1"),
    )
)
_WITHOUT_DECISION = (*_SEGMENTER, *flownet.tensorflow("FlowNets"))

TABLE = Table((*_WITHOUT_DECISION, *_DECISION), flownet.OF_TRAINING)
WITHOUT_DECISION = Table(
    _WITHOUT_DECISION,
    (
        *flownet.OF_TRAINING,
        Skip("decision/.*", "the decision network, which this model leaves out"),
    ),
)
