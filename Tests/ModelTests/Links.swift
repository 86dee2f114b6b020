import Testing
@Test func `Model links`() {}
