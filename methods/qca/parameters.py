"""QCA's parameters: every point on which the paper is ambiguous has a name here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..dashes import AsList
from ..training import TrainingParameters

Levels = Annotated[tuple[Annotated[int, Field(ge=2, le=1024)], ...], AsList, Field(min_length=1)]
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=16_384)], ...], AsList, Field(min_length=1)]
Depths = Annotated[tuple[Annotated[int, Field(ge=0, le=64)], ...], AsList, Field(min_length=1)]


class QCAParameters(TrainingParameters):
    """Defaults are those of the `fast` profile."""

    image_encoder: Literal["adapter", "frozen", "finetune"] = Field(
        "adapter",
        description="What learns on the image side: an MLP on frozen features, nothing, or the backbone itself.",
    )
    backbone: str = Field("ctranspath", description="The network that image_encoder=finetune trains.")
    hidden: Widths = Field(
        (1024, 1024), description="Widths of the gene encoder's hidden layers, mirrored in the decoder."
    )
    latent: int = Field(768, ge=1, le=16_384, description="Width of the gene features, and of what the decoder reads.")
    centre_genes: bool = Field(
        False,
        description="Subtract the training mean before the gene encoder; without it they all point one way.",
    )
    layer_norm: bool = Field(
        True,
        description="LayerNorm inside encoder and decoder; never after the first gene layer, as the L1 term needs its scale.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    feature_noise: float = Field(
        0.0, ge=0, le=10, description="Standard deviation of noise added to z-scored frozen features in training."
    )
    augment: bool = Field(
        False, description="Eight symmetries of the patch in training; read by image_encoder=finetune."
    )
    feature_norm: bool = Field(
        True, description="LayerNorm on the image features before the quantiser; the alignment reads them before it."
    )
    code_norm: bool = Field(
        True,
        description="BatchNorm on what is quantised, so that the bound of FSQ does not saturate; not with quantizer=none.",
    )
    quantizer: Literal["fsq", "vq", "none", "bottleneck"] = Field(
        "fsq",
        description="FSQ; a learned codebook (vq, eq. 2); or the ablations: the identity (none), and FSQ's bound without "
        "its rounding (bottleneck).",
    )
    quantize: Literal["projection", "features"] = Field(
        "projection",
        description="What is quantised: a linear projection with a dimension for each of fsq_levels, or all image features "
        "(Fig. 2b), which then take fsq_levels in turn.",
    )
    fsq_levels: Levels = Field(
        (8, 8, 8, 5, 5, 5), description="Levels of each FSQ dimension; their product is the number of codes."
    )
    codebook: int = Field(512, ge=2, le=65_536, description="Codes of quantizer=vq.")
    alignment: Literal["asymmetric", "identical", "none"] = Field(
        "asymmetric",
        description="asymmetric: images towards softmax(min), genes towards softmax(max) of the two similarity "
        "matrices; identical: each towards the other's.",
    )
    alpha: float = Field(
        0.1, ge=0, le=1, description="Weight of the alignment's gene term; its image term has 1 - alpha (eq. 1)."
    )
    similarity: Literal["dot", "cosine", "centred", "standardised"] = Field(
        "cosine",
        description="Of two spots in one modality: dot product; cosine; cosine after the batch's mean is taken off; or that "
        "with each matrix brought to mean 0 and sd 1 off its diagonal.",
    )
    temperature: float = Field(0.1, gt=0, le=100, description="Divides the similarities of the alignment.")
    learn_temperature: bool = Field(False, description="Train the temperature too, from that value on.")
    alignment_targets: Literal["softmax", "raw"] = Field(
        "softmax",
        description="Targets of the cross-entropy: row softmaxes (Algorithm 1), or the bare matrices (eq. 1).",
    )
    second_logits: Literal["gene", "image"] = Field(
        "gene", description="Logits of the alpha term: gene similarities (Algorithm 1), or the image's again (eq. 1)."
    )
    detach_targets: bool = Field(True, description="Stop the gradient through the alignment's targets.")
    mask_diagonal: bool = Field(False, description="Leave a spot's similarity to itself out of the alignment.")
    recon_levels: Depths = Field(
        (0, 1, 2, 3),
        description="Levels of the reconstruction loss: 0 is the expression, the last the quantised features.",
    )
    stop_grad_encoder_targets: bool = Field(
        False, description="Stop the gradient of the reconstruction loss into the gene encoder."
    )
    autoencode: float = Field(
        0.0, ge=0, le=100, description="Weight of decoding the gene features themselves, without quantiser."
    )
    beta: float = Field(0.01, ge=0, le=100, description="Weight of the L1 norm of the gene encoder's first weight.")
    l1_reduction: Literal["gene_mean", "sum", "mean"] = Field(
        "gene_mean", description="L1 norm per gene averaged over genes, the plain sum, or the mean over all weights."
    )
    average: float = Field(
        0.7,
        ge=0,
        lt=1,
        description="Share of the past in an average of the weights, taken after each epoch, which validates and predicts; "
        "0 keeps the weights of an epoch.",
    )
    round_in_loss: bool = Field(
        False, description="Round the prediction in count space inside the loss too (straight-through)."
    )

    @model_validator(mode="after")
    def _levels_exist(self) -> Self:
        depth = len(self.hidden) + 1
        if max(self.recon_levels) > depth:
            raise ValueError(
                f"expected recon_levels from 0 to {depth} (a layer for each of hidden and the latent), "
                f"found {max(self.recon_levels)}"
            )
        return self
