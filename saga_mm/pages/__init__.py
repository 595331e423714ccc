"""The web page of ``saga-mm demo``. Needs gradio."""
