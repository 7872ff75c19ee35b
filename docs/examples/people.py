"""Finds people. framelog process exec --name people --size 640x360 --fps 5 -- /usr/bin/python3 people.py"""
import cv2  # Debian's python3-opencv
import framelog

detector = cv2.HOGDescriptor()
detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())


def people(fragment):
    most = 0
    for frame in fragment:
        found, scores = detector.detectMultiScale(frame.image, winStride=(8, 8), padding=(32, 32))
        frame.boxes([framelog.Box(*box, "person", min(score, 1)) for box, score in zip(found, scores)])
        most = max(most, len(found))
    if most:
        fragment.event("person", value=most)


framelog.run(people)
