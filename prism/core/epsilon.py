"""The epsilon of the scores by default, where settings can name it without the arrays that scores are made of."""

# eq. 5-7: "a small constant (1e-8) added for numerical stability"
EPSILON = 1e-8
