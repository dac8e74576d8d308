"""From a checkpoint of google-research/simclr to models of this package."""

import dataclasses

import keras

from simclr_keras import heads
from simclr_keras.conversion.checkpoint import Checkpoint
from simclr_keras.conversion.recognition import Recognised


@dataclasses.dataclass(frozen=True)
class Converted:
    """Models with the weights of a checkpoint.

    Attributes:
        encoder: [B, S, S, 3] float32 images in [0, 1] -> [B, F].
        projection_head: [B, F] -> [B, D]; None where the checkpoint has none,
            as Google's of SimCLR v1.
        linear_probe: Google's supervised head, [B, F] -> [B, K] logits, or
            None. Fine-tuned checkpoints may have one that reads a layer of
            the projection head: see `classifier`.
        recognised: `Recognised`.
    """

    encoder: keras.Model
    projection_head: keras.Model | None
    linear_probe: keras.Model | None
    recognised: Recognised

    def classifier(self, ft_proj_selector=0):
        """The supervised head on the features: [B, F] -> [B, K] logits.

        Args:
            ft_proj_selector: the output of the projection head that it was
                trained on, as Google's flag of this name: 0 the embedding
                itself, k the k-th layer after its ReLU, -1 the last. The
                variables do not tell. SimCLRv2 was fine-tuned from layer 1
                with 1 and 10 % of the labels.

        Returns:
            `keras.Model`, or None without a supervised head.

        Raises:
            ValueError: if there is no such layer, or of another width.
        """
        if self.linear_probe is None:
            return None
        if ft_proj_selector == 0:
            selected = self.encoder.output_shape
            inputs = outputs = keras.Input(selected[1:], name="features")
        else:
            inputs, outputs = self._selected(ft_proj_selector)
        takes = self.linear_probe.input_shape[-1]
        if outputs.shape[-1] != takes:
            raise ValueError(
                "`ft_proj_selector` must name the layer that the supervised "
                f"head reads, which has {takes} values. Received: "
                f"{ft_proj_selector}, which has {outputs.shape[-1]}"
            )
        return keras.Model(inputs, self.linear_probe(outputs))

    def _selected(self, ft_proj_selector):
        if self.projection_head is None:
            raise ValueError(
                "`ft_proj_selector` must be 0 without a projection head. "
                f"Received: {ft_proj_selector}"
            )
        model = heads.head_outputs(self.projection_head)
        count = len(model.outputs)
        if not -count <= ft_proj_selector < count:
            raise ValueError(
                f"`ft_proj_selector` must lie in [{-count}, {count - 1}]. "
                f"Received: {ft_proj_selector}"
            )
        return model.input, model.outputs[ft_proj_selector]


def from_google(path, image_size=None):
    """Models with the weights of a checkpoint of google-research/simclr.

    Reads TF2 checkpoints and SavedModels, and TF1 checkpoints and hub
    modules. Depth, width, selective kernels, squeeze-and-excitation, stem
    and heads are recognised from the variables' names and shapes.

    Args:
        path: the folder of a SavedModel, of a hub module or of checkpoints,
            or one checkpoint without `.index`.
        image_size: side of the square images in pixels; None accepts any
            height and width. Google's models of ImageNet were trained at 224.

    Returns:
        `Converted`.

    Raises:
        ValueError: if there is no checkpoint, it is damaged or of another
            model, or variables are missing or unknown.
    """
    checkpoint = Checkpoint(path)
    models = checkpoint.recognised.build(image_size)
    for model in models:
        for variable in model.variables if model is not None else ():
            variable.assign(checkpoint.value(variable.path))
    return Converted(*models, checkpoint.recognised)
