"""The page of ``saga-mm demo``: pictures in, and what models make of them. Needs gradio."""
