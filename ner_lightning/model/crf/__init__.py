"""The CRF: sums and maxima over tag paths, and the torch module around them."""
