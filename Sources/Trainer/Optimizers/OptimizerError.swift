/// A gradient that is not finite: where it was seen first.
package struct OptimizerError: Error, Equatable, CustomStringConvertible {
  package let tensor: String
  /// The element's number in the tensor, row-major.
  package let index: Int
  package let shape: [Int]
  package let value: Float
  /// The global step from 0 whose update was refused.
  package let step: Int

  package init(tensor: String, index: Int, shape: [Int], value: Float, step: Int) {
    self.tensor = tensor
    self.index = index
    self.shape = shape
    self.value = value
    self.step = step
  }

  package var description: String {
    let shape = self.shape.map(String.init).joined(separator: " × ")
    return
      "step \(step): the gradient of \(tensor) [\(shape)] is \(value) at element \(index); "
      + "the parameters are those before this step. Lower the learning rate, clip the gradient, or "
      + "look for extreme values in the batch."
  }
}
