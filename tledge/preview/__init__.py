"""The desktop preview: a page on which the shipped model classifies photos and what the webcam sees.

The page (`export/web`) runs the bundle's own `.tflite` in the browser. `server` hands it out, `panel`
lets a run's other models answer the same pixels, `feedback` keeps pictures with their right label.
"""
