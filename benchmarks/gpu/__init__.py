"""The kernels on a GPU: are they right, how near the memory's limit do they run, and what do models gain."""
