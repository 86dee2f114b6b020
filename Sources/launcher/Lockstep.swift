import ArgumentParser

@main
struct Lockstep: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lockstep",
    abstract: "Fine-tunes BERT with the same bits on any number of ranks.")
}
