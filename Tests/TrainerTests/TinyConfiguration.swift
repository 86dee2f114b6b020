import Model

/// The shape of the tiny reference model.
func tinyConfiguration(dropout: Float = 0) -> BertConfiguration {
  var configuration = BertConfiguration(
    vocabularySize: 196, hiddenSize: 32, layerCount: 2, headCount: 4, intermediateSize: 64,
    maximumPositions: 64)
  configuration.hiddenDropout = dropout
  return configuration
}
