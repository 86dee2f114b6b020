import Testing
@Test func `Collective links`() {}
