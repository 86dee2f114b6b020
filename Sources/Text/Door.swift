package enum TextDoor {}
