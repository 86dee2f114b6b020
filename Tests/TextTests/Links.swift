import Testing
@Test func `Text links`() {}
