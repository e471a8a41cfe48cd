"""The figures of the ancestor's paper, each made anew of real runs: ``fedcore experiment``; docs/paper.md sets them beside the paper's."""
