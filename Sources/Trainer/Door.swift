package enum TrainerDoor {}
