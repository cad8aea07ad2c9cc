"""Tasks that are generated from a seed, each with an axis along which mechanisms are told apart."""
