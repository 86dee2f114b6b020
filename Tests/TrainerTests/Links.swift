import Testing
@Test func `Trainer links`() {}
