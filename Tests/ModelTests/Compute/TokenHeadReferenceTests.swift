import Foundation
import Model
import TestSupport
import Testing

/// Loss and every gradient of heads over tokens against float64 numbers of another implementation.
@Suite struct TokenHeadReferenceTests {
  /// Compares the head of `record` on several numbers of leaves; `targets` makes each example's target.
  static func check(
    _ name: String, _ head: Head, _ tensors: [String: RecordedTensor],
    examples: (HeadsFile, HeadRecord) throws -> [SequenceInput]
  ) throws {
    let file = try Fixtures.json("tiny_heads.json", as: HeadsFile.self)
    let record = try #require(file.records[name])
    let model = try TinyModel("tiny_hf", head: head)
    try record.setHead(of: model, tensors)
    let examples = try examples(file, record)
    #expect(examples.reduce(0) { $0 + head.terms(of: $1) } == record.divisor)
    for leaves in [1, 2, 8] {
      let batch = GradientLawTests.deal(examples, leaves: leaves)
      let gradient = Arena(count: model.engine.table.count)
      let loss = model.engine.gradient(
        of: batch, parameters: model.parameters, into: gradient, randomness: nil)
      #expect(abs(loss.numerator / record.divisor / record.loss - 1) < 1e-5, "\(leaves) leaves")
      record.check(gradient, model.engine.table, head: tensors, "\(name), \(leaves) leaves")
    }
    // Inference computes the same loss, example by example.
    let outputs = model.engine.outputs(of: examples, parameters: model.parameters)
    let sum = outputs.reduce(0) { $0 + ($1.loss ?? .nan) }
    #expect(abs(sum / record.divisor / record.loss - 1) < 1e-5)
  }

  /// The reference's inputs with `targets`.
  static func examples(_ file: HeadsFile, _ targets: [[Float]]) -> [SequenceInput] {
    file.packed(targets, leaves: 1).sequences
  }

  static let classifier = [
    "classifier.weight": RecordedTensor(name: "dense/kernel", isTransposed: true),
    "classifier.bias": RecordedTensor(name: "dense/bias"),
  ]

  /// Labels of each token, side by side in the record, by example; -100 is how PyTorch says that there is none.
  static func labels(_ file: HeadsFile, _ record: HeadRecord) throws -> [[Float]] {
    var labels = try #require(record.labels).floats.map { $0 < 0 ? -1 : $0 }[...]
    return file.batch.map { input in
      defer { labels = labels.dropFirst(input.ids.count) }
      return Array(labels.prefix(input.ids.count))
    }
  }

  @Test func `a softmax over the labels of each token`() throws {
    try Self.check(
      "token_softmax", Head(.tokens, outputs: 5, loss: .softmax, dropout: 0), Self.classifier
    ) { file, record in try Self.examples(file, Self.labels(file, record)) }
  }

  static let chain = classifier.merging(
    ["crf.transitions": RecordedTensor(name: "transitions")]) { $1 }

  @Test func `a conditional random field over all tokens, and over those that have a label`() throws
  {
    let head = Head(.chain(multiplier: 1), outputs: 5, loss: .softmax, dropout: 0)
    try Self.check("ner_crf", head, Self.chain) { file, record in
      try Self.examples(file, Self.labels(file, record))
    }
    try Self.check("ner_crf_inner", head, Self.chain) { file, record in
      let positions = try #require(record.positions)
      let targets = try zip(Self.labels(file, record), positions).map { labels, inner in
        labels.indices.map { inner.contains($0) ? labels[$0] : -1 }
      }
      return Self.examples(file, targets)
    }
  }

  @Test func `pointers at a subject, its end searched from the true start on`() throws {
    let file = try Fixtures.json("tiny_heads.json", as: HeadsFile.self)
    let record = try #require(file.records["subject_pointer_seed"])
    let head = Head(.subjectPointer, outputs: 2, loss: .softmax, dropout: 0)
    let model = try TinyModel("tiny_hf", head: head)
    // Two columns of the record are one tensor here.
    let kernels = try ["ps1/kernel", "ps2/kernel"].map { try #require(record.head_init[$0]).floats }
    model.set("pointer.weight", kernels[0] + kernels[1])
    let examples = Self.examples(file, try Self.spans(record))
    for leaves in [1, 8] {
      let gradient = Arena(count: model.engine.table.count)
      let loss = model.engine.gradient(
        of: GradientLawTests.deal(examples, leaves: leaves), parameters: model.parameters,
        into: gradient, randomness: nil)
      #expect(abs(loss.numerator / record.divisor / record.loss - 1) < 1e-5)
      let range = try #require(model.engine.table["pointer.weight"]).range
      let values = gradient[range].map { $0 / Float(record.divisor) }
      let expected = try ["ps1/kernel", "ps2/kernel"].flatMap {
        try #require(record.head_grads[$0]).values
      }
      #expect(relativeDistance(values, expected) < 5e-5)
      record.check(
        gradient, model.engine.table, head: [:], but: ["pointer.weight"], "subject pointer")
    }
  }

  static func spans(_ record: HeadRecord) throws -> [[Float]] {
    try zip(#require(record.start), #require(record.end_inclusive)).map { [Float($0), Float($1)] }
  }

  @Test func `a span of a text that answers a question`() throws {
    try Self.check(
      "squad_masked", Head(.span, outputs: 2, loss: .softmax, dropout: 0),
      [
        "qa_outputs.weight": RecordedTensor(name: "output_weights"),
        "qa_outputs.bias": RecordedTensor(name: "output_bias"),
      ]
    ) { file, record in Self.examples(file, try Self.spans(record)) }
  }

  @Test func `words at masked tokens, their table read twice`() throws {
    try Self.check(
      "mlm", Head(.maskedLanguageModel, outputs: 196, loss: .softmax, dropout: 0), [:]
    ) { file, record in
      let ids = try #require(record.input_ids)
      let targets = try #require(record.targets_example_position_id)
      return file.batch.enumerated().map { example, input in
        var target = [Float](repeating: -1, count: ids[example].count)
        for place in targets where place[0] == example { target[place[1]] = Float(place[2]) }
        return SequenceInput(
          ids: ids[example], segments: input.segments, exampleID: UInt64(example), target: target)
      }
    }
  }

  @Test(arguments: [
    ("siamese_uv_absdiff", Head.Comparison.difference), ("siamese_uv", .concatenation),
    ("siamese_cosine_mse", .cosine),
  ])
  func `two sequences that are read apart`(name: String, comparison: Head.Comparison) throws {
    let isCosine = comparison == .cosine
    try Self.check(
      name,
      Head(
        .siamese(comparison), outputs: isCosine ? 1 : 2, loss: isCosine ? .squaredError : .softmax,
        dropout: 0), isCosine ? [:] : Self.classifier
    ) { file, record in
      let labels = try #require(record.labels).floats
      return try #require(record.pairs).enumerated().map { i, pair in
        let (a, b) = (file.batch[pair[0]], file.batch[pair[1]])
        return SequenceInput(
          ids: a.ids, segments: a.segments,
          second: SequenceInput.Second(ids: b.ids, segments: b.segments), exampleID: UInt64(i),
          target: [labels[i]])
      }
    }
  }

  @Test func `subjects, and the objects of one of them`() throws {
    let file = try Fixtures.json("tiny_heads.json", as: HeadsFile.self)
    let record = try #require(file.records["relation_seed"])
    let head = Head(
      .relation(
        Head.Relation(
          conditioning: .mean, subject: Head.Thresholds(start: 0.5, end: 0.4),
          object: Head.Thresholds(start: 0.5, end: 0.4))), outputs: 3, loss: .sigmoidClipped,
      dropout: 0)
    let model = try TinyModel("tiny_hf", head: head)
    func recorded(_ names: [String], _ values: [String: Numbers]) throws -> [Float] {
      try names.flatMap { name -> [Float] in
        let numbers = try #require(values[name]).floats
        return name.hasSuffix("kernel")
          ? tensorFlowLayout(numbers, shape: [32, numbers.count / 32], transposed: true) : numbers
      }
    }
    let places = [
      ("subject.weight", ["ps1/kernel", "ps2/kernel"]), ("subject.bias", ["ps1/bias", "ps2/bias"]),
      ("object.weight", ["po1/kernel", "po2/kernel"]), ("object.bias", ["po1/bias", "po2/bias"]),
    ]
    for (name, parts) in places { model.set(name, try recorded(parts, record.head_init)) }
    let subjects = try #require(record.gold_subjects_start_end_inclusive)
    let condition = try #require(record.conditioning_subject_start_end_inclusive)
    let objects = try #require(record.objects_start_end_inclusive_class)
    let targets = file.batch.indices.map { i in
      Head.relationTarget(
        first: condition[i][0], last: condition[i][1], subjects: subjects[i].map { ($0[0], $0[1]) },
        objects: objects[i].map { ($0[0], $0[1], $0[2]) })
    }
    let examples = Self.examples(file, targets)
    #expect(examples.reduce(0) { $0 + head.terms(of: $1) } == record.divisor)
    for leaves in [1, 2, 8] {
      let gradient = Arena(count: model.engine.table.count)
      let loss = model.engine.gradient(
        of: GradientLawTests.deal(examples, leaves: leaves), parameters: model.parameters,
        into: gradient, randomness: nil)
      #expect(abs(loss.numerator / record.divisor / record.loss - 1) < 1e-5)
      for (name, parts) in places {
        let range = try #require(model.engine.table[name]).range
        let values = gradient[range].map { $0 / Float(record.divisor) }
        let expected = try recorded(parts, record.head_grads).map(Double.init)
        #expect(relativeDistance(values, expected) < 5e-5, "\(name)")
      }
      record.check(
        gradient, model.engine.table, head: [:], but: places.map(\.0), "relation")
    }
    let outputs = model.engine.outputs(of: examples, parameters: model.parameters)
    #expect(
      abs(outputs.reduce(0) { $0 + ($1.loss ?? .nan) } / record.divisor / record.loss - 1) < 1e-5)
  }
}
