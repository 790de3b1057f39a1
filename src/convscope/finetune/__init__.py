"""Fine-tuning: the last stages of a pre-trained network are trained, on maps of the frozen part."""
