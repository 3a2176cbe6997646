"""The desktop preview: a page on which the shipped model classifies photos and what the webcam sees.

The page (`export/web`) runs the bundle's own `.tflite` in the browser. `server` hands it out to who has the
key (`admission`, `browser`), `panel` lets a run's other models answer the same pixels, `feedback` keeps
pictures with their right label. `limits` and `connections` bound what clients may take.
"""
