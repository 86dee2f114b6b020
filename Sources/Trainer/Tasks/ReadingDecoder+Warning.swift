import Model

extension ReadingDecoder {
  /// Whether [CLS], which is no answer, or the same tokens are pointed at in every window, and not all answers are right.
  ///
  /// By the best start and end of each window: a model that does not read points at the same places wherever it is asked.
  func warning(_ outputs: [HeadOutput]) -> String? {
    struct Place: Hashable {
      var start: Int, end: Int
    }
    func highest(_ values: ArraySlice<Float>) -> Int {
      let best = values.indices.max { (values[$0], $1) < (values[$1], $0) }
      return (best ?? values.startIndex) - values.startIndex
    }
    let places = outputs.map { output in
      let count = output.values.count / 2
      return Place(
        start: highest(output.values[..<count]), end: highest(output.values[count...]))
    }
    guard places.count > 1, let first = places.first, places.allSatisfy({ $0 == first }),
      let exact = metrics(outputs)["exact"], exact < 1
    else { return nil }
    let none = first.start == 0 && first.end == 0
    return
      "in all \(places.count) windows \(none ? "[CLS], which is no answer, is" : "the tokens \(first.start) to \(first.end) are") predicted. "
      + "A model that has collapsed does that, and one that has not learnt yet."
  }
}
