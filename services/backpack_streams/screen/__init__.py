"""The markets and the health of the plant as lines of text, for `top` and the demo."""
