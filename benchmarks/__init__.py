"""Time and memory of operators, backbones, whole models and enhancers beside their baselines, in one run."""
