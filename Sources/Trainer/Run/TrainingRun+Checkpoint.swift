import Collective
import Foundation
import Model

/// A checkpoint that is being written while training goes on.
struct CheckpointUnderWay {
  /// The optimizer's state on its way to rank 0; nil where each rank holds all of it.
  let stream: PartStream?
  /// Rank 0's hashing and writing.
  let work: BackgroundWork<SavedCheckpoint>?
  /// Whether parameters and the optimizer's state may change, as far as this rank's are read.
  var isRead = false
}

extension TrainingRun {
  /// Starts to write a checkpoint at rank 0, of which every rank holds a part.
  ///
  /// `awaitsEvaluation` says that the step's evaluations come after it. Until the next step changes them, weights and moments are read where they are: rank 0 hashes and writes its own, and those of the
  /// others come in parts. `awaitCheckpoint` returns when the checkpoint is on the disk.
  func startCheckpoint(step: Int, awaitsEvaluation: Bool) throws {
    group.collective.enter(phase: "writing a checkpoint", step: step)
    try awaitCheckpoint()
    try trainingStep.settle()
    let shared = trainingStep.isSharded ? group.stream(stateOf: optimizer) : nil
    let work = files.map { files in
      let reading = Reading(
        store: files.store, log: log, state: state(step: step, awaitsEvaluation: awaitsEvaluation),
        parameters: parameters,
        moments: shared?.tensors ?? optimizer.momentTensors, optimizer: optimizer)
      return BackgroundWork<SavedCheckpoint> { report in
        let draft = try reading.draft(progress: report.part)
        report.release()
        // A checkpoint that is there has its lines in the log, whatever happens to the host.
        try reading.log?.synchronize()
        return try reading.store.publish(draft, progress: report.part)
      }
    }
    checkpoint = CheckpointUnderWay(stream: shared?.stream, work: work)
  }

  /// What another thread reads, and this one leaves alone until it has.
  private struct Reading: @unchecked Sendable {
    let store: CheckpointStore
    let log: MetricsLog?
    let state: RunState
    let parameters: Arena
    let moments: [SafetensorsWriter.Tensor]
    let optimizer: Optimizer

    func draft(progress: @escaping () -> Void) throws -> DraftedCheckpoint {
      try store.draft(
        state, parameters: parameters, moments: moments, optimizer, progress: progress)
    }
  }

  /// Returns when nobody reads this rank's parameters and optimizer's state any more, which step `step`, from 0, is about to change.
  func awaitReader(beforeStep step: Int) throws {
    guard let checkpoint, !checkpoint.isRead else { return }
    if checkpoint.work?.hasReleased == false {
      // Whoever waits for this rank is told what for.
      group.collective.enter(phase: "writing a checkpoint", step: step)
    }
    // What the writer does meanwhile is this rank's progress only while it waits for it.
    try checkpoint.work?.waitForRelease(onProgress: group.collective.noteProgress)
    try checkpoint.stream?.wait()
    self.checkpoint?.isRead = true
  }

  /// Returns when the last checkpoint is on rank 0's disk; there, what was written.
  @discardableResult
  func awaitCheckpoint() throws -> SavedCheckpoint? {
    defer { checkpoint = nil }
    let saved = try checkpoint?.work?.wait(onProgress: group.collective.noteProgress)
    try checkpoint?.stream?.wait()
    for notice in saved?.notices ?? [] { output.write("note: \(notice)\n") }
    return saved
  }

  /// Throws what went wrong with the last checkpoint, if something has.
  func checkCheckpoint() throws {
    if checkpoint?.work?.isDone == true { try awaitCheckpoint() }
  }

  private func state(step: Int, awaitsEvaluation: Bool) -> RunState {
    let place = prepared.batches.place(ofStep: step)
    let recipe = prepared.recipe
    return RunState(
      step: step, epoch: place.epoch, positionInEpoch: place.positions.lowerBound, best: best,
      seed: recipe.seed, batchSize: recipe.batch.size, leaves: recipe.batch.leaves,
      dataFingerprint: dataFingerprint, recipeHash: recipe.resultDigest,
      dialect: recipe.model.dialect, numericsFingerprint: numerics.fingerprint,
      inputs: prepared.inputs, awaitsEvaluation: awaitsEvaluation)
  }
}
