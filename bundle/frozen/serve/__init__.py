"""serve: detections over HTTP, by the Open Inference Protocol v2 and for people with curl."""
