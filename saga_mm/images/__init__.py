"""Read and write photographs, videos and very large pictures, by rows. No torch."""
