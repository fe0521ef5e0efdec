"""The reproduction of N-CODE and ANODE: models, data, metrics, runs, experiments, claims and the book."""

from ncode.reproduction.extras import REPRODUCTION, need

need("reproduction", *REPRODUCTION)
