"""Bytes known by their hash: the contract, its homes, and transfer between them."""
