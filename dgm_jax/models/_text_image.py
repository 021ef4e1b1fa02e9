"""A stream of text and image tokens in one space of ids."""

from dataclasses import dataclass

import jax.numpy as jnp

from dgm_jax.core import Array, DataError, require
from dgm_jax.networks.causal import require_tokens


@dataclass(frozen=True)
class TextImage:
    """A single stream of text tokens, then image tokens (Ramesh et al. 2021, section 2.2).

    Text has the ids 0..text_vocab-1, image code c the id text_vocab + c. Positions before
    text_length draw text, the image_length after them image tokens; other ids have probability zero
    there.

    Attributes:
        text_length: positions of text.
        text_vocab: ids of text.
        image_length: positions of image codes.
        image_vocab: image codes.
    """

    text_length: int
    text_vocab: int
    image_length: int
    image_vocab: int

    def join(self, text: Array, codes: Array) -> Array:
        """Join texts and codes to tokens.

        Args:
            text: int[B, text_length].
            codes: int[B, *grid].

        Returns:
            int32[B, T].

        Raises:
            DataError: unknown ids, or other lengths.
        """
        text = require_tokens(text, self.text_vocab, "text")
        codes = jnp.reshape(codes, (jnp.shape(codes)[0], -1))
        codes = require_tokens(codes, self.image_vocab, "codes")
        lengths = (text.shape[1], codes.shape[1])
        expected = (self.text_length, self.image_length)
        message = f"text and codes must be {expected} tokens long, got {lengths}"
        require(lengths == expected, message, DataError)
        return jnp.concatenate([text, codes + self.text_vocab], 1)

    def codes(self, tokens: Array) -> Array:
        """Extract the image codes of tokens.

        Args:
            tokens: int[B, T], whose last image_length are image tokens.

        Returns:
            int[B, image_length] in 0..image_vocab-1.
        """
        return tokens[:, -self.image_length :] - self.text_vocab

    def allowed(self, positions: Array) -> Array:
        """Tell which ids can stand at positions.

        Args:
            positions: int[*B].

        Returns:
            bool[*B, text_vocab + image_vocab].
        """
        image_id = jnp.arange(self.text_vocab + self.image_vocab) >= self.text_vocab
        return image_id == (jnp.asarray(positions) >= self.text_length)[..., None]
